"""What people granted a run: approvals of its start, its plan, its batches and their figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.store import overrides

KEY = "approve"
GATE_KEY, RETRY = "gate", "retry"
"""How a person cleared a gate."""
UNUSED_LIFE_S = 24 * 3600
"""An approval that was not used lapses."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals in force for one run."""

    start: frozenset[str] = frozenset()
    """Who approved the start."""
    start_lapses_at: int | None = None
    """When the first of these lapses."""
    batches: frozenset[int] = frozenset()
    figures: frozenset[int] = frozenset()
    plan: bool = False
    healing_since: int = 0
    """When a person last let self-healing go on."""


def approvals_of(connection: Connection, run_seq: int, now: int) -> Approvals:
    """Read them; each row's value is `{"hold": REASON, "batch": NUMBER or null}`."""
    found = overrides.of_run(connection, run_seq)
    rows = [row for row in found if row.key == KEY]
    fresh = [row for row in rows if row.until is None or row.until > now]
    start = _for(fresh, "WaitingForApproval", None)
    # A batch that is tried again has other verdicts and figures: those were not approved.
    retried = max(
        (row.id for row in found if row.key == GATE_KEY and row.value == RETRY), default=0
    )
    return Approvals(
        start=frozenset(row.author for row in start),
        start_lapses_at=min((row.until for row in start), default=None),
        batches=_numbers(_for(fresh, "WaitingForApproval"), retried),
        figures=_numbers(_for(rows, "AnalysisInconclusive"), retried),
        plan=any(True for _ in _for(rows, "PlanStale")),
        healing_since=max((row.created_at for row in _for(rows, "SelfHealHeld")), default=0),
    )


_ANY = object()


def _for(rows: Iterable[Row[Any]], hold: str, batch: object = _ANY) -> list[Row[Any]]:
    return [
        row for row in rows if row.value["hold"] == hold and batch in (_ANY, row.value["batch"])
    ]


def _numbers(rows: Iterable[Row[Any]], after: int) -> frozenset[int]:
    return frozenset(
        row.value["batch"] for row in rows if row.id > after and row.value["batch"] is not None
    )
