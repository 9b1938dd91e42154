"""The way back: the old release put back and asked whether it is healthy."""

import contextlib
from dataclasses import replace

from towline.agent import health, saved, scripts
from towline.agent.attempt import UNTOUCHED, AttemptRecord, Step
from towline.agent.device import LOG, Device
from towline.agent.outcome import End, Next, end
from towline.agent.release_scripts import INSTALL, ROLLBACK, run_script, runner
from towline.schemas.states import TargetState


def unless_left(device: Device, record: AttemptRecord, following: Next | End) -> Next | End:
    """With `rollback: {automatic: false}` the way back is not taken: the device stays as it is.

    A way back that people asked for is another thing: what fails on it is undone.
    """
    is_way_back = isinstance(following, Next) and following.step is Step.ROLL_BACK
    if not is_way_back or record.rolls_back or record.is_rollback:
        return following
    assert isinstance(following, Next)
    LOG.error("%s %s failed and is left as it is", record.key.component, record.version)
    failed = replace(record, cause=following.cause)
    message = f"left as it is, as `rollback.automatic` is false: {following.message}"
    return end(device, failed, TargetState.FAILED, following.cause, message)


def give_up(device: Device, record: AttemptRecord) -> Next | End:
    """The step took the device down with it too often."""
    scripts.end_leftover(record.process)
    message = f"interrupted {record.runs} times at {record.step}"
    return _lost(device, record, "PowerLoss", message)


def after_error(device: Device, record: AttemptRecord, error: Exception) -> Next | End:
    """The step ended in an error that it does not know: a failed step, never a loop of crashes."""
    message = f"the agent failed at {record.step}: {error}"
    if not isinstance(error, OSError):
        message = f"the agent failed at {record.step}: {type(error).__name__}: {error}"
    LOG.error("%s %s: %s", record.key.component, record.version, message)
    return _lost(device, record, "InstallFailed", message)


def _lost(device: Device, record: AttemptRecord, reason: str, message: str) -> Next | End:
    """What follows from a step that cannot be done: nothing, the way back, or its end."""
    if record.step in UNTOUCHED:
        return end(device, record, TargetState.FAILED, reason, message)
    if record.step not in (Step.ROLL_BACK, Step.CHECK_PREVIOUS):
        return Next(Step.ROLL_BACK, reason, message)
    if record.step is Step.ROLL_BACK:
        _point_back(device, record)
    if record.message:
        message = f"{message}; {record.cause}: {record.message}"
    return end(device, record, TargetState.FAILED, "RollbackFailed", message)


def _point_back(device: Device, record: AttemptRecord) -> None:
    """What is left of a rollback that cannot be finished: copies and links, without a script."""
    component, layout = record.key.component, device.layout
    with contextlib.suppress(OSError, ValueError):
        saved.restore(layout.saved(component))
    with contextlib.suppress(OSError):
        layout.swap(component, record.from_release, record.from_previous)


def roll_back(device: Device, record: AttemptRecord) -> Next | End:
    """Run rollback.sh, put the saved paths back, and point to the old release.

    Where there is neither, the old release's install.sh runs again.
    """
    component, layout = record.key.component, device.layout
    LOG.warning("%s %s failed, going back: %s", component, record.version, record.message)
    folder = layout.folder(component, record.release)
    problem = ""
    has_script = (folder / ROLLBACK).is_file()
    if has_script:
        ended = run_script(device, record, record.release, ROLLBACK, record.install_timeout_s)
        problem = "" if ended.is_success else str(ended)
    try:
        count = saved.restore(layout.saved(component))
    except (OSError, ValueError) as error:
        count, problem = 1, f"cannot put back what was saved: {error}"
    if record.from_release and not has_script and not count:
        ended = run_script(device, record, record.from_release, INSTALL, record.install_timeout_s)
        problem = "" if ended.is_success else f"{ended} (of the previous release)"
    layout.swap(component, record.from_release, record.from_previous)
    return _rolled_back(device, record, problem)


def _rolled_back(device: Device, record: AttemptRecord, problem: str) -> Next | End:
    told_cause = f"{record.cause}: {record.message}"
    if problem:
        message = f"{problem}; {told_cause}"
        return end(device, record, TargetState.FAILED, "RollbackFailed", message)
    if record.from_release is None:
        return end(device, record, TargetState.FAILED, "NoPrevious", told_cause)
    return Next(Step.CHECK_PREVIOUS)


def check_previous(device: Device, record: AttemptRecord) -> Next | End:
    """Ask whether the old release is healthy; raises fetch.Stopped to ask at the next start."""
    previous = record.from_release or ""
    folder = device.layout.folder(record.key.component, previous)
    run = runner(device, record, previous)
    if problem := health.check_previous(folder, record.health, run, device.stop.wait):
        message = f"the previous release is not healthy: {problem}; {record.message}"
        return end(device, record, TargetState.FAILED, "RollbackFailed", message)
    if record.is_rollback:
        message = f"still on what ran before: {record.cause}: {record.message}"
        return end(device, record, TargetState.FAILED, "RollbackFailed", message)
    return end(device, record, TargetState.ROLLED_BACK, record.cause, record.message)
