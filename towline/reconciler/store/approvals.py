"""What people granted a run: approvals of its start, its plan, its batches and their figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from towline.reconciler.store.tables import overrides

KEY = "approve"
UNUSED_LIFE_S = 24 * 3600
"""An approval that was not used lapses."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals in force for one run."""

    start: frozenset[str] = frozenset()
    """Who approved the start."""
    batches: frozenset[int] = frozenset()
    figures: frozenset[int] = frozenset()
    plan: bool = False
    healing_since: int = 0
    """When a person last let self-healing go on."""


def approvals_of(connection: Connection, run_seq: int, now: int) -> Approvals:
    """Read them; each row's value is `{"hold": REASON, "batch": NUMBER or null}`."""
    rows = connection.execute(
        select(overrides).where(overrides.c.run_seq == run_seq, overrides.c.key == KEY)
    ).all()
    fresh = [row for row in rows if row.until is None or row.until > now]
    return Approvals(
        start=frozenset(row.author for row in _for(fresh, "WaitingForApproval", None)),
        batches=_numbers(_for(fresh, "WaitingForApproval")),
        figures=_numbers(_for(rows, "AnalysisInconclusive")),
        plan=any(True for _ in _for(rows, "PlanStale")),
        healing_since=max((row.created_at for row in _for(rows, "SelfHealHeld")), default=0),
    )


_ANY = object()


def _for(rows: Iterable[Row[Any]], hold: str, batch: object = _ANY) -> list[Row[Any]]:
    return [
        row for row in rows if row.value["hold"] == hold and batch in (_ANY, row.value["batch"])
    ]


def _numbers(rows: Iterable[Row[Any]]) -> frozenset[int]:
    return frozenset(row.value["batch"] for row in rows if row.value["batch"] is not None)
