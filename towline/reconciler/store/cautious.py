"""Devices that may go first and alone, with what speaks for each."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from towline.reconciler.store import hints
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import ConditionGroup
from towline.reconciler.store.selecting import chosen_devices
from towline.reconciler.store.tables import device_state, edge_devices, label_sets, targets
from towline.schemas.states import TargetState

LIMIT = 200
"""Of the run's order: enough to find a window that opens soon, whatever the fleet's size."""


@dataclass(frozen=True, slots=True)
class Cautious:
    """One candidate."""

    seq: int
    slug: str
    device_type: str
    labels: dict[str, str]
    time_zone: str | None
    position: int
    free_bytes: int | None
    """As the device last said; None when it never did."""


def candidates(
    connection: Connection,
    choice: Choice,
    groups: list[ConditionGroup],
    order: Affine | None,
) -> list[Cautious]:
    """Fitting devices in the run's order, seen in two polls, whose last attempt did not fail."""
    if not groups:
        return []
    chosen = chosen_devices(connection, choice, groups, order).subquery("fitting")
    asked = (
        select(edge_devices, label_sets.c.labels, device_state.c.facts, chosen.c.position)
        .join(chosen, chosen.c.seq == edge_devices.c.seq)
        .join(label_sets, label_sets.c.id == edge_devices.c.label_set_id)
        .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .where(
            device_state.c.last_seen >= choice.seen_after,
            device_state.c.seen_before.is_not(None),
            ~_failed_last(choice),
        )
        .order_by(chosen.c.position)
        .limit(LIMIT)
    )
    rows = connection.execute(hints.planned_anew(asked))
    return [
        Cautious(
            seq=row.seq,
            slug=row.slug,
            device_type=row.device_type,
            labels=row.labels,
            time_zone=row.time_zone,
            position=row.position,
            free_bytes=_free_bytes(row.facts),
        )
        for row in rows
    ]


def _free_bytes(facts: dict[str, Any]) -> int | None:
    free = facts.get("freeBytes")
    return free if isinstance(free, int) else None


def _failed_last(choice: Choice) -> ColumnElement[bool]:
    last, later = targets.alias("last"), targets.alias("later")
    newest = (
        select(func.max(later.c.run_seq))
        .where(
            later.c.device_seq == last.c.device_seq,
            later.c.component == last.c.component,
            later.c.status != TargetState.SKIPPED.value,
        )
        .correlate(last)
        .scalar_subquery()
    )
    return exists(
        select(last.c.run_seq).where(
            and_(
                last.c.device_seq == edge_devices.c.seq,
                last.c.component == choice.component,
                last.c.status.in_([TargetState.FAILED.value, TargetState.ROLLED_BACK.value]),
                last.c.run_seq == newest,
            )
        )
    )
