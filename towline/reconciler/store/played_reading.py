"""What rehearsals read of many devices at once: who is there, what they do, how they fared before.

For SQLite only, as `played`, which writes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, false, func, or_, select

from towline.reconciler.store.clocks import awaits_verdict
from towline.reconciler.store.plan_reading import PAST_INSTALLS, PAST_RUNS
from towline.reconciler.store.played import NEVER_SILENT, listed
from towline.reconciler.store.tables import device_state, edge_devices, label_sets, runs, targets
from towline.schemas.states import TargetState


@dataclass(frozen=True, slots=True)
class PastSteps:
    """How long one install of the past took, in seconds; None: it was not prepared."""

    download_s: int | None
    install_s: int
    """From the fetch of the grant to `completed`."""


def in_touch(connection: Connection, seen_after: int) -> list[int]:
    """Devices that were seen since."""
    rows = connection.execute(
        select(device_state.c.device_seq)
        .where(device_state.c.last_seen >= seen_after)
        .order_by(device_state.c.device_seq)
    )
    return list(rows.scalars())


def out_of_touch(connection: Connection, seen_after: int) -> list[int]:
    """Devices that were not."""
    rows = connection.execute(
        select(device_state.c.device_seq)
        .where(func.coalesce(device_state.c.last_seen, 0) < seen_after)
        .order_by(device_state.c.device_seq)
    )
    return list(rows.scalars())


def label_sets_known(connection: Connection) -> dict[int, dict[str, str]]:
    """All distinct sets of labels, by id."""
    return {row.id: row.labels for row in connection.execute(select(label_sets))}


def unfinished_devices(connection: Connection) -> list[int]:
    """Devices with a target that lacks its verdict."""
    rows = connection.execute(
        select(targets.c.device_seq)
        .where(awaits_verdict())
        .distinct()
        .order_by(targets.c.device_seq)
    )
    return list(rows.scalars())


_ASKED = (
    "run_seq", "device_seq", "component", "status", "reason", "arm", "sha256", "goes_back",
    "from_sha256", "prepared_at", "staged_at", "granted_at", "fetched_at",
)  # fmt: skip


def targets_of(
    connection: Connection, devices: Collection[int], run_seq: int | None = None
) -> Sequence[Row[Any]]:
    """The devices' targets of one run, else all that lack a verdict; with zone and labels."""
    which = awaits_verdict() if run_seq is None else targets.c.run_seq == run_seq
    statement: Select[Any] = (
        select(
            *(targets.c[name] for name in _ASKED),
            edge_devices.c.slug,
            edge_devices.c.device_type,
            edge_devices.c.time_zone,
            edge_devices.c.label_set_id,
        )
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .where(targets.c.device_seq.in_(listed(devices)), which)
        .order_by(targets.c.device_seq, targets.c.run_seq)
    )
    return connection.execute(statement).all()


def silent_from(connection: Connection, run_seq: int, offline_s: int) -> int:
    """When the first device that was not granted will have been silent for `offline_s`."""
    last_seen = func.coalesce(device_state.c.last_seen, 0)
    found: int | None = connection.execute(
        select(func.min(func.max(last_seen, targets.c.created_at)))
        .join(targets, targets.c.device_seq == device_state.c.device_seq)
        .where(
            targets.c.run_seq == run_seq,
            targets.c.status == TargetState.PENDING.value,
            targets.c.granted_at.is_(None),
        )
    ).scalar_one()
    return (NEVER_SILENT if found is None else found) + offline_s


def past_steps(connection: Connection, organization: str, component: str) -> list[PastSteps]:
    """Installs of the past that waited for no window, in any order."""
    newest = connection.execute(
        select(runs.c.seq, runs.c.offer)
        .where(
            runs.c.organization == organization,
            runs.c.component == component,
            runs.c.offer.is_not(None),
        )
        .order_by(runs.c.seq.desc())
        .limit(PAST_RUNS)
    ).all()
    within = [
        and_(
            targets.c.run_seq == run.seq,
            func.coalesce(targets.c.deadline - targets.c.fetched_at, 0)
            <= run.offer["deviceTimeout"],
        )
        for run in newest
    ]
    rows = connection.execute(
        select(
            targets.c.staged_at - targets.c.prepared_at,
            targets.c.completed_at - targets.c.fetched_at,
        )
        .where(
            or_(false(), *within),
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_not(None),
        )
        .limit(PAST_INSTALLS)
    )
    return [PastSteps(download_s, install_s) for download_s, install_s in rows]


def active_devices(connection: Connection, organization: str) -> int:
    """How many devices there are."""
    return connection.execute(
        select(func.count())
        .select_from(edge_devices)
        .where(edge_devices.c.organization == organization, edge_devices.c.state == "active")
    ).scalar_one()
