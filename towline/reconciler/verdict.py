"""Counting a batch's members and judging it, in whole numbers.

The table says what each outcome counts as; everything else is arithmetic over counts, so that a
batch of a million devices is judged as cheaply as one of ten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from towline.reconciler.store.targets import TargetGroup
from towline.schemas.states import TargetState


class Counts(StrEnum):
    """What a target counts as for its batch."""

    PASSED = "passed"
    FAILED = "failed"
    EXCUSED = "excused"
    WORKING = "working"
    """Granted and without a verdict: it holds a slot."""
    WAITING = "waiting"
    """Selected and not granted."""


FAILED_REASONS = frozenset(
    {
        "InstallFailed",
        "HealthCheckFailed",
        "PowerLoss",
        "ChecksumMismatch",
        "SignatureInvalid",
        "NoPrevious",
        "RollbackFailed",
        "TimedOut",
        "Regressed",
        "DriftLoop",
    }
)
"""Reasons of `failed` that count against the release; a failed download, a full disk do not."""


def counts_as(group: TargetGroup) -> Counts:
    """The verdict table of the manual."""
    match group.status:
        case TargetState.COMPLETED:
            return Counts.PASSED if group.is_verified else Counts.WORKING
        case TargetState.SKIPPED:
            return Counts.EXCUSED
        case TargetState.ROLLED_BACK:
            # Only a device that went back by itself tells of the release.
            is_excused = group.reason in ("RolledBackByUser", "RolledBackByPolicy")
            return Counts.EXCUSED if is_excused else Counts.FAILED
        case TargetState.FAILED:
            return Counts.FAILED if group.reason in FAILED_REASONS else Counts.EXCUSED
    return Counts.WORKING if group.is_granted else Counts.WAITING


@dataclass(frozen=True, slots=True)
class Tally:
    """A batch's members by what they count as."""

    passed: int = 0
    failed: int = 0
    excused: int = 0
    working: int = 0
    waiting: int = 0

    @property
    def verdicts(self) -> int:
        """Members that passed or failed."""
        return self.passed + self.failed

    @property
    def outstanding(self) -> int:
        """Members that may still give a verdict."""
        return self.working + self.waiting

    @property
    def members(self) -> int:
        """Targets of the batch that were not skipped or otherwise excused."""
        return self.verdicts + self.outstanding


def tally(groups: Iterable[TargetGroup]) -> Tally:
    """Add up the groups of one batch."""
    sums = dict.fromkeys(Counts, 0)
    for group in groups:
        sums[counts_as(group)] += group.n
    return Tally(**{kind.value: n for kind, n in sums.items()})


def _cannot_pass(tally: Tally, threshold: int) -> bool:
    best = tally.passed + tally.outstanding
    return bool(tally.failed) and best * 100 < threshold * (tally.verdicts + tally.outstanding)


class Judgement(StrEnum):
    """What a batch's tally says."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"
    NO_EVIDENCE = "no_evidence"


def judge(
    tally: Tally,
    threshold: int,
    size: int,
    *,
    is_last: bool,
    has_evidence: bool,
    arms: Sequence[Tally] = (),
) -> Judgement:
    """Judge a batch of `size` selected members against `threshold` percent.

    `has_evidence` is true when an earlier batch of the run passed. The `arms` of an experiment must
    each reach the threshold.
    """
    if any(_cannot_pass(each, threshold) for each in arms or (tally,)):
        return Judgement.FAILED
    if tally.outstanding:
        return Judgement.OPEN
    if size == 0:
        return Judgement.PASSED
    if is_last:
        return Judgement.PASSED if tally.verdicts or has_evidence else Judgement.NO_EVIDENCE
    if tally.verdicts == 0 or tally.verdicts * 2 < size:
        return Judgement.NO_EVIDENCE
    return Judgement.PASSED
