"""The answers to the questions of an analysis, and the batches that wait for one.

An answer is never changed and never deleted: it is the record of why a batch passed or did not.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, exists, insert, select

from towline.reconciler.store.tables import analyses, batches, holds, runs
from towline.schemas.states import BatchState, RunState


class Outcome(StrEnum):
    """What one answer says."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It cannot be told: no answer, or none with the figure in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question that was asked."""

    asked_at: int
    outcome: Outcome
    value: str = ""
    """The figure as it was answered; empty when the outcome is unknown."""
    message: str = ""
    """For people: what the figure was compared with, or why it cannot be told."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch whose soak is over and whose figures are asked since `since`."""

    run_seq: int
    deployment: str
    revision: str
    batch: int
    since: int


def write(connection: Connection, run_seq: int, batch: int, name: str, answer: Answer) -> None:
    """Keep one answer."""
    connection.execute(
        insert(analyses).values(
            run_seq=run_seq,
            batch=batch,
            name=name,
            asked_at=answer.asked_at,
            outcome=answer.outcome.value,
            value=answer.value,
            message=answer.message,
        )
    )


def newest(
    connection: Connection, run_seq: int, batch: int, name: str, limit: int
) -> tuple[Answer, ...]:
    """The last `limit` answers to one question, in order."""
    rows = connection.execute(
        select(analyses.c.asked_at, analyses.c.outcome, analyses.c.value, analyses.c.message)
        .where(
            analyses.c.run_seq == run_seq,
            analyses.c.batch == batch,
            analyses.c.name == name,
        )
        .order_by(analyses.c.id.desc())
        .limit(limit)
    ).all()
    return tuple(
        Answer(asked_at, Outcome(outcome), value, message)
        for asked_at, outcome, value, message in reversed(rows)
    )


def waiting(connection: Connection, organization: str) -> tuple[Waiting, ...]:
    """The batches that wait for their analysis.

    A paused run is not asked for, unless it is held because nothing clear was answered yet: a clear
    answer lifts that hold.
    """
    is_inconclusive = exists(
        select(holds.c.id).where(
            holds.c.run_seq == runs.c.seq, holds.c.reason == "AnalysisInconclusive"
        )
    )
    rows = connection.execute(
        select(
            runs.c.seq,
            runs.c.deployment,
            runs.c.revision,
            batches.c.number,
            batches.c.analysis_from,
        )
        .join(batches, batches.c.run_seq == runs.c.seq)
        .where(
            runs.c.organization == organization,
            (runs.c.status == RunState.IN_PROGRESS.value)
            | ((runs.c.status == RunState.PAUSED.value) & is_inconclusive),
            batches.c.state.in_([BatchState.OPEN.value, BatchState.SOAKING.value]),
            batches.c.analysis_from.is_not(None),
        )
        .order_by(runs.c.seq, batches.c.number)
    )
    return tuple(Waiting(*row) for row in rows)
