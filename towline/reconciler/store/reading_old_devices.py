"""What the server reads in the place of an old device: its targets, its journal, what it runs."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, select

from towline.reconciler.store import tables as t
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState


def device_row(connection: Connection, device_seq: int) -> Row[Any]:
    """The device."""
    return connection.execute(
        select(t.edge_devices).where(t.edge_devices.c.seq == device_seq)
    ).one()


def journal_of(connection: Connection, device_seq: int) -> Row[Any]:
    """How far its reports are."""
    return connection.execute(
        select(t.device_state).where(t.device_state.c.device_seq == device_seq)
    ).one()


def target_of(connection: Connection, run_id: UUID, device_seq: int) -> Row[Any] | None:
    """The device in a run; None when it has no part in it."""
    return connection.execute(
        select(
            t.targets,
            t.runs.c.revision,
            t.runs.c.source_commit,
            t.runs.c.metadata,
            t.runs.c.target_version,
            t.runs.c.offer,
        )
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.runs.c.id == run_id, t.targets.c.device_seq == device_seq)
    ).first()


def unverified(connection: Connection, device_seq: int) -> dict[str, Installed]:
    """What the device completed and runs as far as is known, and was not asked about since."""
    rows = connection.execute(
        select(t.targets.c.component, t.component_versions.c.version, t.device_components.c.sha256)
        .join(
            t.device_components,
            and_(
                t.device_components.c.device_seq == t.targets.c.device_seq,
                t.device_components.c.component == t.targets.c.component,
            ),
        )
        .join(t.component_versions, t.component_versions.c.id == t.device_components.c.version_id)
        .where(
            t.targets.c.device_seq == device_seq,
            t.targets.c.status == TargetState.COMPLETED.value,
            t.targets.c.verified_at.is_(None),
        )
    )
    return {row.component: Installed(row.version, row.sha256) for row in rows if row.sha256}
