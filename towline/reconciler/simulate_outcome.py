"""What one run of a simulation came to, read from its store, and many of them taken together."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.rehearsal import Story
from towline.reconciler.simulate import (
    Ending,
    SimulatedBatch,
    SimulatedDeployment,
    Spread,
    Wait,
)
from towline.reconciler.store import runs
from towline.reconciler.store.targets import TargetGroup, groups_by_batch
from towline.schemas.states import BatchState, RunState, TargetState

_BAD = frozenset({TargetState.FAILED, TargetState.ROLLED_BACK})
_PASSED = frozenset({BatchState.PASSED.value, BatchState.ACCEPTED.value})


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """One batch of one run; times are seconds since the start."""

    number: int
    name: str
    is_last: bool
    is_passed: bool
    members: int
    failed: int
    opened_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One Deployment in one run."""

    status: str
    reason: str
    message: str
    seconds: int
    """To its end, or to where it stopped."""
    harmed: int
    updated: int
    deferred: int
    waits: dict[str, int]
    batches: tuple[BatchOutcome, ...]


def read_outcome(
    connection: Connection, run: Row[Any], story: Story, harmed: int, started_at: int
) -> Outcome:
    """What became of a run that was played."""
    groups = groups_by_batch(connection, run.seq)
    everyone = [group for each in groups.values() for group in each]
    holds = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    laid_at = min((hold.since for hold in holds), default=None)
    ended_at = run.completed_at or laid_at or story.moved_at or started_at
    return Outcome(
        status=run.status,
        reason=run.reason,
        message=run.message,
        seconds=max(0, ended_at - started_at),
        harmed=harmed,
        updated=_count(everyone, lambda each: each.status is TargetState.COMPLETED),
        deferred=_count(everyone, lambda each: each.reason == "OfflineDeferred"),
        waits={reason: s for reason, s in sorted(story.waited.items()) if reason and s},
        batches=tuple(
            _batch(row, groups.get(row.number, []), started_at)
            for row in runs.batches_of(connection, run.seq)
        ),
    )


def _count(groups: Sequence[TargetGroup], counts: Callable[[TargetGroup], bool]) -> int:
    return sum(group.n for group in groups if counts(group))


def _batch(row: Row[Any], groups: Sequence[TargetGroup], started_at: int) -> BatchOutcome:
    return BatchOutcome(
        number=row.number + 1,
        name=row.name,
        is_last=row.is_last,
        is_passed=row.state in _PASSED,
        members=_count(groups, lambda each: each.status is not TargetState.SKIPPED),
        failed=_count(groups, lambda each: each.status in _BAD),
        opened_at=max(0, row.opened_at - started_at),
        ended_at=None if row.ended_at is None else max(0, row.ended_at - started_at),
    )


def together(name: str, version: str, outcomes: Sequence[Outcome]) -> SimulatedDeployment:
    """One Deployment over all runs."""
    if not outcomes:
        return SimulatedDeployment(name, version)
    completed = [each for each in outcomes if each.status == RunState.COMPLETED.value]
    return SimulatedDeployment(
        name=name,
        version=version,
        endings=_endings(outcomes),
        finish=Spread.of(each.seconds for each in completed),
        harmed=Spread.of(each.harmed for each in outcomes),
        updated=Spread.of(each.updated for each in outcomes),
        deferred=Spread.of(each.deferred for each in outcomes),
        waits=_waits(outcomes),
        batches=_batches(outcomes),
    )


def _endings(outcomes: Sequence[Outcome]) -> tuple[Ending, ...]:
    """The most frequent one first."""
    alike: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for each in outcomes:
        alike[each.status, each.reason].append(each)
    found = []
    for (status, reason), same in alike.items():
        seconds = Spread.of(each.seconds for each in same)
        assert seconds is not None
        found.append(Ending(status, reason, same[0].message, len(same), seconds))
    return tuple(sorted(found, key=lambda each: (-each.runs, each.status, each.reason)))


def _waits(outcomes: Sequence[Outcome]) -> tuple[Wait, ...]:
    reasons = sorted({reason for each in outcomes for reason in each.waits})
    found = []
    for reason in reasons:
        lengths = [each.waits[reason] for each in outcomes if reason in each.waits]
        seconds = Spread.of(lengths)
        assert seconds is not None
        found.append(Wait(reason, len(lengths), seconds))
    return tuple(found)


def _batches(outcomes: Sequence[Outcome]) -> tuple[SimulatedBatch, ...]:
    by_number: dict[int, list[BatchOutcome]] = defaultdict(list)
    for each in outcomes:
        for batch in each.batches:
            by_number[batch.number].append(batch)
    return tuple(_same_batch(same) for _, same in sorted(by_number.items()))


def _same_batch(same: Sequence[BatchOutcome]) -> SimulatedBatch:
    members = Spread.of(each.members for each in same)
    failed = Spread.of(each.failed for each in same)
    opened_at = Spread.of(each.opened_at for each in same)
    assert members and failed and opened_at
    return SimulatedBatch(
        number=same[0].number,
        name=same[0].name,
        is_last=same[0].is_last,
        runs=len(same),
        passed=sum(each.is_passed for each in same),
        members=members,
        failed=failed,
        opened_at=opened_at,
        ended_at=Spread.of(each.ended_at for each in same if each.ended_at is not None),
    )
