"""What people read of a run's devices: one part at a time, by state or id, however many there are.

Parts go by the device's number, in the order of enrolment, which the primary key has already.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from towline.reconciler.store import tables as t
from towline.reconciler.store.reading import select_targets, target_document
from towline.schemas.states import TargetState

FAILING = (TargetState.FAILED, TargetState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class TargetFilter:
    """Which devices of a run are wanted."""

    states: tuple[TargetState, ...] = ()
    """Empty: all."""
    begins_with: str = ""
    """How the device's id begins."""
    after: int = 0
    """Only with a higher number."""


def targets_part(
    connection: Connection, run_seq: int, wanted: TargetFilter, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """At most `limit` devices of a run, and after which number the next part begins."""
    rows = connection.execute(
        select_targets()
        .where(t.targets.c.run_seq == run_seq, *_conditions(wanted))
        .order_by(t.targets.c.device_seq)
        .limit(limit + 1)
    ).all()
    shown = rows[:limit]
    onward = int(shown[-1].device_seq) if len(rows) > limit else None
    return [target_document(row) for row in shown], onward


def _conditions(wanted: TargetFilter) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = [t.targets.c.device_seq > wanted.after]
    if wanted.states:
        where.append(t.targets.c.status.in_([state.value for state in wanted.states]))
    if wanted.begins_with:
        where.append(t.edge_devices.c.slug.startswith(wanted.begins_with, autoescape=True))
    return where


def target_of(connection: Connection, run_seq: int, slug: str) -> dict[str, Any] | None:
    """One device of a run."""
    row = connection.execute(
        select_targets().where(t.targets.c.run_seq == run_seq, t.edge_devices.c.slug == slug)
    ).first()
    return target_document(row) if row is not None else None


def newest_run_ids(connection: Connection, organization: str, names: set[str]) -> set[str]:
    """The ids of the newest runs of these Deployments; only those can be acted on."""
    newest: dict[str, str] = {}
    rows = connection.execute(
        select(t.runs.c.deployment, t.runs.c.id)
        .where(t.runs.c.organization == organization, t.runs.c.deployment.in_(sorted(names)))
        .order_by(t.runs.c.seq)
    )
    for row in rows:
        newest[row.deployment] = str(row.id)
    return set(newest.values())
