"""What the agent would do now. Pure: a snapshot in, actions out; an empty list means converged.

One component is changed at a time. What has touched the device is always finished, whatever the
document says meanwhile; what has not is given up as soon as it is no longer wanted.
"""

from dataclasses import dataclass
from typing import TypeAlias

from towline.agent.attempt import RUNS_LIMIT, UNTOUCHED, AttemptRecord, KnownBad, Step
from towline.agent.observe import Snapshot
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.states import TargetState

ANSWER_AGE_LIMIT_S = 15 * 60
"""Before its first irreversible step the agent needs an answer younger than this."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Open an attempt with this step."""

    wanted: ComponentWanted
    step: Step


@dataclass(frozen=True, slots=True)
class Confirm:
    """Report that the wanted release runs already."""

    wanted: ComponentWanted


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry out the step at which the attempt stands."""

    component: str
    step: Step


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step was begun too often without coming to an end."""

    component: str
    step: Step


@dataclass(frozen=True, slots=True)
class Abandon:
    """Drop an attempt that is no longer wanted and has changed nothing yet."""

    component: str


@dataclass(frozen=True, slots=True)
class ReportVersions:
    """Say once more what runs, after the document that followed a completion."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait, and say for what; `until` in seconds since the epoch where a time is known."""

    component: str
    reason: str
    message: str = ""
    until: int | None = None


Action: TypeAlias = Begin | Confirm | Perform | GiveUp | Abandon | ReportVersions | Hold


def decide(seen: Snapshot) -> list[Action]:
    """Everything that the agent would do now, the next thing first."""
    actions = _owed(seen)
    if seen.attempt is not None:
        return [*actions, _go_on(seen, seen.attempt)]
    if seen.document is None:
        return [*actions, Hold("", "WaitingForDocument", "the server has sent no valid document")]
    is_busy = False
    for wanted in seen.document.components:
        action = _converge(seen, wanted)
        if isinstance(action, Begin):
            if is_busy:
                action = Hold(wanted.name, "OtherInstallRunning", "one component at a time")
            is_busy = True
        actions += [action] if action else []
    return actions


def _owed(seen: Snapshot) -> list[Action]:
    owed, document = seen.versions_owed_after, seen.document
    is_due = owed is not None and document is not None and document.sequence > owed
    return [ReportVersions()] if is_due else []


def _go_on(seen: Snapshot, attempt: AttemptRecord) -> Action:
    component, step = attempt.key.component, attempt.step
    if step not in UNTOUCHED:
        is_hopeless = attempt.runs >= RUNS_LIMIT.get(step, attempt.runs + 1)
        return GiveUp(component, step) if is_hopeless else Perform(component, step)
    if seen.document is None:
        return Hold(component, "WaitingForDocument", "the last document is not valid any more")
    if not any(_is_of(wanted, attempt) for wanted in seen.document.components):
        return Abandon(component)
    age = seen.answer_age_s
    if step is Step.SAVE and (age is None or age > ANSWER_AGE_LIMIT_S):
        return Hold(component, "WaitingForServer", "an install needs a fresh answer")
    return Perform(component, step)


def _is_of(wanted: ComponentWanted, attempt: AttemptRecord) -> bool:
    key = attempt.key
    is_same = (wanted.name, wanted.deployment, wanted.attempt, wanted.sha256, wanted.version) == (
        key.component,
        key.deployment,
        key.attempt,
        attempt.sha256,
        attempt.version,
    )
    is_preparation = wanted.action is ComponentAction.PREPARE
    return (
        is_same
        and wanted.action is not ComponentAction.KEEP
        and is_preparation is attempt.is_preparation
    )


def _converge(seen: Snapshot, wanted: ComponentWanted) -> Action | None:
    if wanted.action is ComponentAction.KEEP:
        return None
    component = seen.component(wanted.name)
    is_staged = any(
        (release.sha256, release.version) == (wanted.sha256, wanted.version)
        for release in component.staged
    )
    if hold := _obstacle(seen, wanted):
        return hold
    if wanted.action is ComponentAction.PREPARE:
        return None if is_staged else Begin(wanted, Step.DOWNLOAD)
    current = component.current
    if current and (current.sha256, current.version) == (wanted.sha256, wanted.version):
        return None if _is_reported(seen, wanted) else Confirm(wanted)
    return Begin(wanted, Step.SAVE if is_staged else Step.DOWNLOAD)


def _obstacle(seen: Snapshot, wanted: ComponentWanted) -> Hold | None:
    """Why this attempt is not made (again)."""
    outcome = seen.component(wanted.name).outcome
    if outcome and _is_same_attempt(seen, wanted) and outcome.state is not TargetState.COMPLETED:
        return Hold(wanted.name, outcome.reason, outcome.message)
    if KnownBad(wanted.sha256, wanted.deployment, wanted.attempt) in seen.known_bad:
        return Hold(wanted.name, "KnownBad", f"{wanted.version} failed on this device")
    return None


def _is_reported(seen: Snapshot, wanted: ComponentWanted) -> bool:
    outcome = seen.component(wanted.name).outcome
    is_completed = outcome is not None and outcome.state is TargetState.COMPLETED
    return is_completed and _is_same_attempt(seen, wanted)


def _is_same_attempt(seen: Snapshot, wanted: ComponentWanted) -> bool:
    outcome = seen.component(wanted.name).outcome
    return outcome is not None and (
        outcome.key.deployment,
        outcome.key.attempt,
        outcome.sha256,
    ) == (wanted.deployment, wanted.attempt, wanted.sha256)
