"""Performs one action: a step of an attempt and the journal's word of it.

Each step is begun in the journal, done, and left in the journal with what follows from it. A stop
between any two instructions repeats the step, so that each step can be done twice.
"""

from collections.abc import Callable
from dataclasses import replace

from towline.agent import install, rollback, saved
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
from towline.agent.attempt import RUNS_LIMIT, AttemptRecord, Key, Outcome, Step, success_of
from towline.agent.decide import waiting
from towline.agent.device import LOG, Device
from towline.agent.fetch import Stopped
from towline.agent.journal import JournalState
from towline.agent.layout import release_name
from towline.agent.outcome import End, Next, told
from towline.agent.scripts import end_leftover
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.states import TargetState

_ANNOUNCED = {
    Step.DOWNLOAD: TargetState.DOWNLOADING,
    Step.SAVE: TargetState.INSTALLING,
    Step.CHECK: TargetState.VERIFYING,
}
"""What is reported as a step begins."""

_STEPS: dict[Step, Callable[[Device, AttemptRecord], Next | End]] = {
    Step.DOWNLOAD: install.download,
    Step.STAGE: install.stage,
    Step.SAVE: install.save,
    Step.INSTALL: install.install,
    Step.SWAP: install.swap,
    Step.CHECK: install.check,
    Step.COMMIT: install.commit,
    Step.ROLL_BACK: rollback.roll_back,
    Step.CHECK_PREVIOUS: rollback.check_previous,
}


def apply(device: Device, action: Action) -> None:
    """Do it; raises only what leaves the journal as it was (a full disk, a wish to stop)."""
    match action:
        case Begin():
            _begin(device, action)
        case Confirm():
            _confirm(device, action.wanted)
        case Perform():
            _perform(device, action)
        case GiveUp():
            _leave(device, rollback.give_up(device, _record(device)))
        case Abandon():
            LOG.info("%s: not now, nothing was changed", action.component)
            device.journal.write(replace(device.journal.state, attempt=None))
        case ReportVersions():
            state = replace(device.journal.state, versions_owed_after=None)
            device.journal.write(state.with_report(device.report_for()))
        case Tell():
            _tell(device, action)
        case Hold():
            return


def _record(device: Device) -> AttemptRecord:
    record = device.journal.state.attempt
    if record is None:
        raise RuntimeError("no attempt is under way")
    return record


def _key(wanted: ComponentWanted) -> Key:
    return Key(wanted.name, wanted.deployment, wanted.revision, wanted.attempt, wanted.commit)


def _begin(device: Device, action: Begin) -> None:
    wanted, layout = action.wanted, device.layout
    statement = device.accepted.statements[wanted.name] if device.accepted else None
    record = AttemptRecord(
        key=_key(wanted),
        version=wanted.version,
        sha256=wanted.sha256,
        release=release_name(wanted.version, wanted.sha256),
        rollback_index=statement.rollback_index if statement else 0,
        step=action.step,
        from_release=layout.current_name(wanted.name),
        from_previous=layout.previous_name(wanted.name),
        is_preparation=wanted.action is ComponentAction.PREPARE,
        is_rollback=wanted.action is ComponentAction.ROLLBACK,
        rolls_back=wanted.rolls_back,
        install_timeout_s=wanted.install_timeout_s,
        health=wanted.health,
    )
    device.journal.write(replace(device.journal.state, attempt=record))


def _confirm(device: Device, wanted: ComponentWanted) -> None:
    state, reason = success_of(is_rollback=wanted.action is ComponentAction.ROLLBACK)
    LOG.info("%s %s runs already", wanted.name, wanted.version)
    _conclude(device, Outcome(_key(wanted), wanted.version, wanted.sha256, state, reason))


def _tell(device: Device, action: Tell) -> None:
    """Report it and remember that in one write."""
    wanted = action.wanted
    LOG.info("%s %s: %s %s", wanted.name, wanted.version, action.reason, action.message)
    outcome = Outcome(
        _key(wanted),
        wanted.version,
        wanted.sha256,
        TargetState.PENDING,
        action.reason,
        action.message,
    )
    state = device.journal.state.with_report(device.report_for(told(outcome)))
    waits = state.waits | {wanted.name: waiting(action)}
    device.journal.write(replace(state, waits=waits))


def _announce(device: Device, record: AttemptRecord) -> JournalState:
    """The journal with the report that this step begins, where one is due."""
    state, step = device.journal.state, record.step
    if record.runs or step not in _ANNOUNCED:
        return state
    word, reason = _ANNOUNCED[step], ""
    if record.is_preparation:
        word, reason = TargetState.PENDING, "Preparing"
    outcome = Outcome(record.key, record.version, record.sha256, word, reason)
    waits = {name: each for name, each in state.waits.items() if name != record.key.component}
    return replace(state.with_report(device.report_for(told(outcome))), waits=waits)


def _perform(device: Device, action: Perform) -> None:
    record = _record(device)
    if (record.key.component, record.step) != (action.component, action.step):
        raise RuntimeError(f"the attempt stands at {record.step}, not at {action.step}")
    if end_leftover(record.process):
        LOG.warning("%s: ended a script that an earlier agent left", action.component)
    state = _announce(device, record)
    record = replace(record, runs=record.runs + 1, process=None)
    device.journal.write(replace(state, attempt=record))
    device.send_reports()
    try:
        following = _STEPS[record.step](device, record)
    except Stopped:
        # Who stops the agent is no sign that the step takes the device down with it.
        record = replace(_record(device), runs=1)
        device.journal.write(replace(device.journal.state, attempt=record))
        raise
    except Exception as error:
        if isinstance(error, OSError) and record.runs < RUNS_LIMIT[record.step]:
            raise  # a disk may recover
        following = rollback.after_error(device, record, error)
    _leave(device, following)


def _leave(device: Device, following: Next | End) -> None:
    """Write what a step led to."""
    state = device.journal.state
    record = _record(device)
    following = rollback.unless_left(device, record, following)
    if isinstance(following, Next):
        record = replace(
            record,
            step=following.step,
            runs=0,
            process=None,
            cause=following.cause or record.cause,
            message=following.message or record.message,
        )
        device.journal.write(replace(state, attempt=record))
    elif following.outcome is None:
        device.journal.write(replace(state, attempt=None))
    else:
        _conclude(device, following.outcome)


def _conclude(device: Device, outcome: Outcome) -> None:
    """The attempt is over: outcome and report in one write."""
    component = outcome.key.component
    state = device.journal.state
    LOG.info("%s %s %s %s", component, outcome.version, outcome.state, outcome.message)
    owed = device.trust.state.sequence if outcome.is_success else state.versions_owed_after
    device.journal.write(
        replace(
            state.with_report(device.report_for(told(outcome))),
            attempt=None,
            outcomes=state.outcomes | {component: outcome},
            versions_owed_after=owed,
        )
    )
    saved.forget(device.layout.saved(component))
