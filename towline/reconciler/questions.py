"""Which figures are to be asked now, and where the analysis of a batch stands.

Read from the store and the manifest in force: a figure that a commit removes is not asked any more,
one that it adds is. Figures are told apart by name within a batch.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from towline.manifests.model import Analysis
from towline.reconciler.analysis import Standing, standing, together
from towline.reconciler.head import Head
from towline.reconciler.store import analyses
from towline.reconciler.store.analyses import Waiting


@dataclass(frozen=True, slots=True)
class Question:
    """One figure to be asked for a batch."""

    run_seq: int
    deployment: str
    batch: int
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class Questions:
    """What is due, and when the next one will be; None when nothing waits."""

    due: tuple[Question, ...] = ()
    next_at: int | None = None


def batch_standing(
    connection: Connection, run_seq: int, batch: int, since: int, asked: tuple[Analysis, ...]
) -> Standing:
    """Where the whole analysis of a batch stands that began at `since`."""
    return together(_standing(connection, run_seq, batch, since, each) for each in asked)


def due_questions(connection: Connection, head: Head, now: int) -> Questions:
    """What is to be asked at `now` for all batches that wait."""
    due: list[Question] = []
    later: list[int] = []
    for each in analyses.waiting(connection, head.organization):
        for analysis in _asked(head, each):
            found = _standing(connection, each.run_seq, each.batch, each.since, analysis)
            if found.next_ask_at is None:
                continue
            if found.next_ask_at <= now:
                due.append(Question(each.run_seq, each.deployment, each.batch, analysis))
            else:
                later.append(found.next_ask_at)
    return Questions(tuple(due), min(later, default=None))


def _standing(
    connection: Connection, run_seq: int, batch: int, since: int, analysis: Analysis
) -> Standing:
    answers = analyses.newest(connection, run_seq, batch, analysis.name, analysis.count)
    return standing(answers, analysis, since)


def _asked(head: Head, waiting: Waiting) -> tuple[Analysis, ...]:
    manifest = head.deployments.get(waiting.deployment)
    if manifest is None or manifest.revision != waiting.revision:
        return ()
    return manifest.analysis
