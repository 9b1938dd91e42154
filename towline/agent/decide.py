"""What the agent would do now. Pure: a snapshot in, actions out; an empty list means converged.

One component is changed at a time. What has touched the device is always finished, whatever the
document says meanwhile; what has not is given up as soon as it is no longer wanted. What waits for
a window or a lock is not under way: its release lies staged, and the other components go on.
"""

from collections.abc import Sequence

from towline.agent.actions import (
    Abandon,
    Action,
    Begin,
    Confirm,
    GiveUp,
    Hold,
    Perform,
    ReportVersions,
    Tell,
)
from towline.agent.attempt import (
    RUNS_LIMIT,
    UNTOUCHED,
    AttemptRecord,
    KnownBad,
    Step,
    Waiting,
    success_of,
)
from towline.agent.gate import gate
from towline.agent.observe import Snapshot
from towline.schemas.desired_state import ComponentAction, ComponentWanted

_TOLD = frozenset({"WaitingForWindow", "Locked"})
"""What keeps an install waiting and stops the server's clocks."""


def decide(seen: Snapshot) -> list[Action]:
    """Everything that the agent would do now, the next thing first."""
    actions = _owed(seen)
    if seen.attempt is not None:
        return [*actions, _go_on(seen, seen.attempt)]
    if seen.document is None:
        return [*actions, Hold("", "WaitingForDocument", "the server has sent no valid document")]
    is_busy = False
    for wanted in seen.document.components:
        for action in _converge(seen, wanted):
            if isinstance(action, Begin) and is_busy:
                actions.append(Hold(wanted.name, "OtherInstallRunning", "one component at a time"))
                continue
            is_busy = is_busy or isinstance(action, Begin)
            actions.append(action)
    return actions


def _owed(seen: Snapshot) -> list[Action]:
    owed, document = seen.versions_owed_after, seen.document
    is_due = owed is not None and document is not None and document.sequence > owed
    return [ReportVersions()] if is_due else []


def _go_on(seen: Snapshot, attempt: AttemptRecord) -> Action:
    component, step = attempt.key.component, attempt.step
    if step in UNTOUCHED:
        if seen.document is None:
            return Hold(component, "WaitingForDocument", "the last document is not valid any more")
        wanted = next((each for each in seen.document.components if _is_of(each, attempt)), None)
        hold = gate(seen, wanted) if wanted and step is Step.SAVE else None
        if hold and hold.reason == "WaitingForServer" and attempt.runs:
            return hold  # after a stop in the step; what is abandoned would begin with no runs
        if wanted is None or hold:
            return Abandon(component)
    is_hopeless = attempt.runs >= RUNS_LIMIT[step]
    return GiveUp(component, step) if is_hopeless else Perform(component, step)


def _is_of(wanted: ComponentWanted, attempt: AttemptRecord) -> bool:
    """Whether the document still asks for what this attempt does next.

    To download and to stage is the same for all; a grant that comes meanwhile changes nothing.
    """
    key = attempt.key
    is_same = (wanted.name, wanted.deployment, wanted.attempt, wanted.sha256, wanted.version) == (
        key.component,
        key.deployment,
        key.attempt,
        attempt.sha256,
        attempt.version,
    )
    if attempt.step is not Step.SAVE:
        return is_same and wanted.action is not ComponentAction.KEEP
    action = ComponentAction.ROLLBACK if attempt.is_rollback else ComponentAction.INSTALL
    return is_same and wanted.action is action


def _converge(seen: Snapshot, wanted: ComponentWanted) -> Sequence[Action]:
    if wanted.action is ComponentAction.KEEP:
        return ()
    if hold := _obstacle(seen, wanted):
        return (hold,)
    component = seen.component(wanted.name)
    release = (wanted.sha256, wanted.version)
    is_staged = any((each.sha256, each.version) == release for each in component.staged)
    if wanted.action is ComponentAction.PREPARE:
        staged = Tell(wanted, "Staged")
        return _once(seen, staged) if is_staged else (Begin(wanted, Step.DOWNLOAD),)
    current = component.current
    if current and (current.sha256, current.version) == release:
        return () if _is_reported(seen, wanted) else (Confirm(wanted),)
    return _start(seen, wanted) if is_staged else (Begin(wanted, Step.DOWNLOAD),)


def _start(seen: Snapshot, wanted: ComponentWanted) -> Sequence[Action]:
    """Install what lies staged, or wait and tell it."""
    hold = gate(seen, wanted)
    if hold is None:
        return (Begin(wanted, Step.SAVE),)
    if hold.reason not in _TOLD:
        return (hold,)
    return (*_once(seen, Tell(wanted, hold.reason, hold.message, hold.until)), hold)


def _once(seen: Snapshot, tell: Tell) -> Sequence[Action]:
    return () if seen.waits.get(tell.wanted.name) == waiting(tell) else (tell,)


def waiting(tell: Tell) -> Waiting:
    """What is remembered once it was told; it is told again when it is no longer the same."""
    wanted, until = tell.wanted, tell.until
    detail = tell.message if until is None else str(until)
    return Waiting(wanted.deployment, wanted.attempt, wanted.sha256, tell.reason, detail)


def _obstacle(seen: Snapshot, wanted: ComponentWanted) -> Hold | None:
    """Why this attempt is not made (again)."""
    outcome = seen.component(wanted.name).outcome
    if outcome and _is_same_attempt(seen, wanted) and not outcome.is_success:
        return Hold(wanted.name, outcome.reason, outcome.message)
    if KnownBad(wanted.sha256, wanted.deployment, wanted.attempt) in seen.known_bad:
        return Hold(wanted.name, "KnownBad", f"{wanted.version} failed on this device")
    return None


def _is_reported(seen: Snapshot, wanted: ComponentWanted) -> bool:
    outcome = seen.component(wanted.name).outcome
    success = success_of(is_rollback=wanted.action is ComponentAction.ROLLBACK)
    is_told = outcome is not None and (outcome.state, outcome.reason) == success
    return is_told and _is_same_attempt(seen, wanted)


def _is_same_attempt(seen: Snapshot, wanted: ComponentWanted) -> bool:
    outcome = seen.component(wanted.name).outcome
    return outcome is not None and (
        outcome.key.deployment,
        outcome.key.attempt,
        outcome.sha256,
    ) == (wanted.deployment, wanted.attempt, wanted.sha256)
