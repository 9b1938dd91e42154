"""The states of runs, batches and targets, and the moves between them, as tables.

The manual's section "States" is these tables in words; the API's 409 answers, the store's
moves and the documentation are made from them. `move_*` refuses what a table lacks.
"""

from enum import StrEnum


class RunState(StrEnum):
    """One rollout of a revision: the API's `status` of a deployment."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TargetState(StrEnum):
    """One device in one run."""

    PENDING = "pending"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"


class BatchState(StrEnum):
    """One group of a run's targets that is opened together and judged together."""

    WAITING = "waiting"
    OPEN = "open"
    SOAKING = "soaking"
    PASSED = "passed"
    FAILED = "failed"
    ACCEPTED = "accepted"


class Verb(StrEnum):
    """What a person does to a run."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    APPROVE = "approve"
    ROLLBACK = "rollback"


FINISHED_RUNS = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})
LIVE_RUNS = frozenset(RunState) - FINISHED_RUNS
ACTIVE_TARGETS = (
    TargetState.PENDING,
    TargetState.DOWNLOADING,
    TargetState.INSTALLING,
    TargetState.VERIFYING,
)
BUSY_TARGETS = (TargetState.DOWNLOADING, TargetState.INSTALLING, TargetState.VERIFYING)
"""Reported states in which a device works on its update."""

PASSED_BATCHES = frozenset({BatchState.PASSED, BatchState.ACCEPTED})

VERBS: dict[Verb, frozenset[RunState]] = {
    Verb.START: frozenset({RunState.PENDING}),
    Verb.PAUSE: frozenset({RunState.PENDING, RunState.IN_PROGRESS}),
    Verb.RESUME: frozenset({RunState.PAUSED}),
    Verb.CANCEL: frozenset({RunState.PENDING, RunState.IN_PROGRESS, RunState.PAUSED}),
    Verb.RETRY: frozenset({RunState.PAUSED, RunState.FAILED, RunState.CANCELLED}),
    Verb.APPROVE: frozenset(
        {RunState.PENDING, RunState.IN_PROGRESS, RunState.PAUSED, RunState.COMPLETED}
    ),
    Verb.ROLLBACK: frozenset({RunState.IN_PROGRESS, RunState.PAUSED, RunState.COMPLETED}),
}
"""The states in which a verb is allowed; every other pair is answered 409."""

RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset(
        {RunState.IN_PROGRESS, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}
    ),
    RunState.IN_PROGRESS: frozenset(
        {RunState.PAUSED, RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.PAUSED: frozenset(
        {
            RunState.PENDING,
            RunState.IN_PROGRESS,
            RunState.COMPLETED,
            RunState.FAILED,
            RunState.CANCELLED,
        }
    ),
    RunState.COMPLETED: frozenset({RunState.IN_PROGRESS}),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

BATCH_MOVES: dict[BatchState, frozenset[BatchState]] = {
    BatchState.WAITING: frozenset({BatchState.OPEN}),
    BatchState.OPEN: frozenset(
        {BatchState.SOAKING, BatchState.PASSED, BatchState.FAILED, BatchState.ACCEPTED}
    ),
    BatchState.SOAKING: frozenset({BatchState.PASSED, BatchState.FAILED, BatchState.ACCEPTED}),
    BatchState.FAILED: frozenset({BatchState.OPEN, BatchState.ACCEPTED}),
    BatchState.PASSED: frozenset({BatchState.FAILED}),
    BatchState.ACCEPTED: frozenset(),
}

_OUTCOMES = frozenset({TargetState.COMPLETED, TargetState.FAILED, TargetState.ROLLED_BACK})

REPORTED_MOVES: dict[TargetState, frozenset[TargetState]] = {
    TargetState.PENDING: frozenset(BUSY_TARGETS) | _OUTCOMES,
    TargetState.DOWNLOADING: frozenset({TargetState.INSTALLING, TargetState.VERIFYING}) | _OUTCOMES,
    TargetState.INSTALLING: frozenset({TargetState.VERIFYING}) | _OUTCOMES,
    TargetState.VERIFYING: _OUTCOMES,
    TargetState.COMPLETED: frozenset(),
    TargetState.FAILED: frozenset(),
    TargetState.ROLLED_BACK: frozenset(),
    TargetState.SKIPPED: frozenset(),
}
"""What a device's report may do to its target. Repeats are acknowledged, the rest is dropped."""

DECIDED_MOVES: dict[TargetState, frozenset[TargetState]] = {
    TargetState.PENDING: frozenset({TargetState.SKIPPED, TargetState.FAILED}),
    TargetState.DOWNLOADING: frozenset(
        {TargetState.PENDING, TargetState.SKIPPED, TargetState.FAILED}
    ),
    TargetState.INSTALLING: frozenset({TargetState.FAILED}),
    TargetState.VERIFYING: frozenset({TargetState.FAILED}),
    TargetState.COMPLETED: frozenset({TargetState.FAILED, TargetState.PENDING}),
    TargetState.FAILED: frozenset({TargetState.PENDING}),
    TargetState.ROLLED_BACK: frozenset({TargetState.PENDING}),
    TargetState.SKIPPED: frozenset({TargetState.PENDING}),
}
"""What the reconciler may do to a target: skip, time out, defer, bring back, retry, send back to
what it came from, heal."""

OUTCOMES: dict[TargetState, tuple[str, ...]] = {
    TargetState.FAILED: (
        "DownloadFailed",
        "ChecksumMismatch",
        "SignatureInvalid",
        "NoSpace",
        "InstallFailed",
        "HealthCheckFailed",
        "PowerLoss",
        "NoPrevious",
        "RollbackFailed",
        "TimedOut",
        "Regressed",
        "DriftLoop",
    ),
    TargetState.ROLLED_BACK: (
        "InstallFailed",
        "HealthCheckFailed",
        "PowerLoss",
        "RolledBackByUser",
        "RolledBackByPolicy",
    ),
    TargetState.SKIPPED: (
        "BelowBarrier",
        "NewerInstalled",
        "KnownBad",
        "Excluded",
        "NoLongerMatches",
        "OwnedByOther",
        "VersionNotComparable",
        "NoPackageForDevice",
        "BelowRollbackIndex",
        "OfflineDeferred",
        "Cancelled",
        "Superseded",
    ),
}
"""How a target can end otherwise than completed: state and reason."""

LATE_MOVES: dict[TargetState, frozenset[TargetState]] = {
    TargetState.FAILED: frozenset({TargetState.COMPLETED, TargetState.ROLLED_BACK}),
    TargetState.SKIPPED: _OUTCOMES,
}
"""What a late report may do: an end after TimedOut, and the end of what had begun to install
when its run ended."""


class IllegalMove(Exception):
    """A move that no table holds."""

    def __init__(self, subject: str, before: StrEnum, after: StrEnum) -> None:
        super().__init__(f"{subject} cannot go from {before} to {after}")
        self.before = before
        self.after = after


def move_run(before: RunState, after: RunState) -> RunState:
    """Return `after`; raises IllegalMove when the table lacks the move."""
    if after is not before and after not in RUN_MOVES[before]:
        raise IllegalMove("a run", before, after)
    return after


def move_target(before: TargetState, after: TargetState) -> TargetState:
    """Return `after`; raises IllegalMove when none of the three tables has the move."""
    tables = (REPORTED_MOVES, DECIDED_MOVES, LATE_MOVES)
    if after is not before and not any(after in table.get(before, ()) for table in tables):
        raise IllegalMove("a target", before, after)
    return after


def move_batch(before: BatchState, after: BatchState) -> BatchState:
    """Return `after`; raises IllegalMove when the table lacks the move."""
    if after not in BATCH_MOVES[before]:
        raise IllegalMove("a batch", before, after)
    return after


GLYPHS: dict[str, str] = {
    RunState.PENDING: "○",
    RunState.IN_PROGRESS: "◐",
    RunState.PAUSED: "‖",
    RunState.COMPLETED: "✓",
    RunState.FAILED: "✗",
    RunState.CANCELLED: "⊘",
    TargetState.DOWNLOADING: "↓",
    TargetState.INSTALLING: "◐",
    TargetState.VERIFYING: "◑",
    TargetState.ROLLED_BACK: "↩",
    TargetState.SKIPPED: "-",
    BatchState.WAITING: "○",
    BatchState.OPEN: "◐",
    BatchState.SOAKING: "◔",
    BatchState.PASSED: "✓",
    BatchState.ACCEPTED: "✓",
}
COLOURS: dict[str, str] = {
    RunState.PENDING: "dim",
    RunState.IN_PROGRESS: "cyan",
    RunState.PAUSED: "yellow",
    RunState.COMPLETED: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "dim",
    TargetState.DOWNLOADING: "cyan",
    TargetState.INSTALLING: "cyan",
    TargetState.VERIFYING: "cyan",
    TargetState.ROLLED_BACK: "magenta",
    TargetState.SKIPPED: "dim",
    BatchState.WAITING: "dim",
    BatchState.OPEN: "cyan",
    BatchState.SOAKING: "cyan",
    BatchState.PASSED: "green",
    BatchState.ACCEPTED: "green",
}
"""One glyph and one colour per status word, on every surface; never colour alone."""
