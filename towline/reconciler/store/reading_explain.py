"""The rows that an explanation of a device or a Deployment rests on."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from towline.reconciler.store import tables as t
from towline.reconciler.store.clocks import awaits_verdict
from towline.schemas.states import ACTIVE_TARGETS, Verb

_ACTIVE = [state.value for state in ACTIVE_TARGETS]


def device_row(connection: Connection, organization: str, slug: str) -> Row[Any] | None:
    """The device with its labels, presence, refusal, and since when it has a token if it is old."""
    return connection.execute(
        select(
            t.edge_devices,
            t.label_sets.c.labels,
            t.device_state.c.last_seen,
            t.device_state.c.rejected,
            t.device_tokens.c.created_at.label("token_since"),
        )
        .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
        .outerjoin(t.device_state, t.device_state.c.device_seq == t.edge_devices.c.seq)
        .outerjoin(t.device_tokens, t.device_tokens.c.device_seq == t.edge_devices.c.seq)
        .where(t.edge_devices.c.organization == organization, t.edge_devices.c.slug == slug)
    ).first()


def installed(connection: Connection, device_seq: int) -> dict[str, Row[Any]]:
    """By component: what the device runs (`version` may be null) and what it is pinned to."""
    rows = connection.execute(
        select(t.device_components, t.component_versions.c.version)
        .outerjoin(
            t.component_versions, t.component_versions.c.id == t.device_components.c.version_id
        )
        .where(t.device_components.c.device_seq == device_seq)
    )
    return {row.component: row for row in rows}


def newest_targets(connection: Connection, device_seq: int) -> dict[str, Row[Any]]:
    """By component: the device's newest target with its Deployment."""
    rows = connection.execute(
        select(t.targets, t.runs.c.deployment)
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.targets.c.device_seq == device_seq)
        .order_by(t.targets.c.run_seq)
    )
    return {row.component: row for row in rows}


def target_in(connection: Connection, run_seq: int, device_seq: int) -> Row[Any] | None:
    """The device in a run."""
    return connection.execute(
        select(t.targets).where(
            t.targets.c.run_seq == run_seq, t.targets.c.device_seq == device_seq
        )
    ).first()


def other_install(connection: Connection, device_seq: int, component: str) -> Row[Any] | None:
    """What is granted on the device for another component."""
    return connection.execute(
        select(t.targets, t.runs.c.target_version, t.runs.c.deployment)
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(
            t.targets.c.device_seq == device_seq,
            t.targets.c.component != component,
            t.targets.c.granted_at.is_not(None),
            t.targets.c.status.in_(_ACTIVE),
        )
        .limit(1)
    ).first()


def subject_of(connection: Connection, run: Row[Any]) -> str:
    """The first line of the commit that began the newest run of the run's revision."""
    found = connection.execute(
        select(t.revisions.c.subject).where(
            t.revisions.c.organization == run.organization,
            t.revisions.c.deployment == run.deployment,
            t.revisions.c.id == run.revision,
        )
    ).scalar_one_or_none()
    return (found or "").split("\n")[0]


def last_act(connection: Connection, run: Row[Any]) -> Row[Any] | None:
    """The event of what a person last did to the run as a whole."""
    return connection.execute(
        select(t.events)
        .where(
            t.events.c.organization == run.organization,
            t.events.c.deployment == run.deployment,
            t.events.c.run == run.id,
            t.events.c.kind.in_([f"verb.{verb}" for verb in Verb]),
            t.events.c.device.is_(None),
        )
        .order_by(t.events.c.id.desc())
        .limit(1)
    ).first()


def deadlines(connection: Connection, run_seq: int) -> Sequence[Row[Any]]:
    """Of the devices that owe a verdict, by state: `(status, is_granted, n, deadline, still)`.

    `deadline` is the next one's; for `still` of them it stands still.
    """
    granted = t.targets.c.granted_at.is_not(None).label("is_granted")
    return connection.execute(
        select(
            t.targets.c.status,
            granted,
            func.count().label("n"),
            func.min(t.targets.c.deadline).filter(t.targets.c.waits == "").label("deadline"),
            func.count().filter(t.targets.c.waits != "").label("still"),
        )
        .where(t.targets.c.run_seq == run_seq, awaits_verdict())
        .group_by(t.targets.c.status, granted)
        .order_by(t.targets.c.status)
    ).all()
