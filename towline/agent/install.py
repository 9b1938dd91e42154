"""The steps of an attempt, format `script`: what each does and what follows from it.

Every step may be repeated after a stop at any instruction. Nothing that runs is touched before
INSTALL; from there on the attempt ends with the new release healthy or with the old one back.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from towline.agent import durable, fetch, health, saved, scripts
from towline.agent.attempt import AttemptRecord, KnownBad, Outcome, Process, Step
from towline.agent.device import LOG, Device, remember_bad
from towline.agent.fetch import FetchFailed, Wanted
from towline.agent.layout import Release
from towline.agent.scripts import Ended
from towline.agent.unpack import unpack
from towline.schemas import reports
from towline.schemas.problems import Problem, Refused, reason_of
from towline.schemas.states import TargetState

INSTALL_SCRIPT = "install.sh"
ROLLBACK_SCRIPT = "rollback.sh"


@dataclass(frozen=True, slots=True)
class Next:
    """The attempt goes on with this step."""

    step: Step
    cause: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The attempt is over; without an outcome nothing is reported."""

    outcome: Outcome | None = None


def told(outcome: Outcome) -> reports.Attempt:
    """The outcome or step as a report names it."""
    key = outcome.key
    return reports.Attempt(
        component=key.component,
        deployment=key.deployment,
        revision=key.revision,
        attempt=key.attempt,
        commit=key.commit,
        state=outcome.state,
        reason=outcome.reason,
        message=_plain(outcome.message),
    )


def _plain(text: str) -> str:
    """Without control characters, and its end where it is too long for a report."""
    shown = "".join(char for char in text if char in "\n\t" or ord(char) >= 32)
    limit = reports.MESSAGE_LIMIT
    return shown if len(shown) <= limit else "…" + shown[-limit + 1 :]


def perform(device: Device, record: AttemptRecord) -> Next | End:
    """Do the step at which `record` stands; raises fetch.Stopped to leave it for later."""
    return _STEPS[record.step](device, record)


def give_up(device: Device, record: AttemptRecord) -> Next | End:
    """The step took the device down with it too often."""
    scripts.end_leftover(record.process)
    message = f"interrupted {record.runs} times at {record.step}"
    if record.step in (Step.INSTALL, Step.CHECK):
        return Next(Step.ROLL_BACK, "PowerLoss", message)
    return _end(device, record, TargetState.FAILED, "RollbackFailed", message)


def _end(
    device: Device, record: AttemptRecord, state: TargetState, reason: str = "", message: str = ""
) -> End:
    """Leave the attempt; a package that was at fault is remembered first."""
    if record.cause and record.cause != "PowerLoss":
        key = record.key
        remember_bad(device.layout, KnownBad(record.sha256, key.deployment, key.attempt))
    outcome = Outcome(record.key, record.version, record.sha256, state, reason, message)
    return End(outcome)


def _unchanged(device: Device, record: AttemptRecord, reason: str, message: str) -> End:
    """Failed before anything was touched."""
    return _end(device, record, TargetState.FAILED, reason, message)


def _download(device: Device, record: AttemptRecord) -> Next | End:
    key, layout = record.key, device.layout
    accepted = device.accepted
    if accepted is None:
        return End()
    wanted = next(each for each in accepted.document.components if each.name == key.component)
    statement = accepted.statements[key.component]
    kept = {
        release.name
        for release in (layout.current(key.component), layout.previous(key.component))
        if release
    }
    layout.prune(key.component, frozenset(kept))
    fetch.clear(layout.downloads, [record.sha256])
    if not any(layout.downloads.iterdir()):
        state = device.journal.state
        device.journal.write(replace(state, downloads=state.downloads + 1))
    LOG.info("downloading %s %s, %d bytes", key.component, record.version, wanted.size)
    try:
        device.fetcher.fetch(
            Wanted(wanted.urls, wanted.size, wanted.sha256, room=statement.unpacked_size),
            wanted.device_timeout_s,
        )
    except FetchFailed as failed:
        return _unchanged(device, record, failed.reason, str(failed))
    return Next(Step.STAGE)


def _stage(device: Device, record: AttemptRecord) -> Next | End:
    component, layout = record.key.component, device.layout
    if device.accepted is None:
        return End()
    statement = device.accepted.statements[component]
    archive, folder = layout.download(record.sha256), layout.folder(component, record.release)
    if not archive.exists():
        return Next(Step.DOWNLOAD)
    LOG.info("unpacking %s %s", component, record.version)
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for leftover in (fresh, folder):
            if leftover.exists():
                shutil.rmtree(leftover)
        unpack(
            archive,
            fresh,
            unpacked_limit=statement.unpacked_size,
            files_limit=statement.files,
        )
        fresh.rename(folder)
        release = Release(record.release, record.version, record.sha256, record.rollback_index)
        layout.write_note(component, release)
    except Refused as refused:
        archive.unlink()
        return _unchanged(device, record, reason_of(refused.code), f"the package: {refused}")
    except OSError as error:
        return _unchanged(device, record, _disk_reason(error), f"cannot unpack: {error.strerror}")
    archive.unlink()
    return End() if record.is_preparation else Next(Step.SAVE)


def _disk_reason(error: OSError) -> str:
    return "NoSpace" if error.errno in durable.NO_SPACE_ERRNOS else "InstallFailed"


def _save(device: Device, record: AttemptRecord) -> Next | End:
    component, layout = record.key.component, device.layout
    folder = layout.folder(component, record.release)
    try:
        saved.save(saved.listed(folder, layout.root), layout.saved(component))
    except Problem as problem:
        return _unchanged(device, record, "InstallFailed", problem.what)
    except OSError as error:
        saved.forget(layout.saved(component))
        message = f"cannot save {error.filename or 'a file'}: {error.strerror}"
        return _unchanged(device, record, _disk_reason(error), message)
    return Next(Step.INSTALL)


def _install(device: Device, record: AttemptRecord) -> Next | End:
    again = " once more, it was interrupted" if record.runs > 1 else ""
    LOG.info("installing %s %s%s", record.key.component, record.version, again)
    ended = _run(device, record, record.release, INSTALL_SCRIPT, record.install_timeout_s)
    if ended.is_success:
        note = f"{INSTALL_SCRIPT} was interrupted and run again" if again else ""
        return Next(Step.SWAP, message=note)
    return Next(Step.ROLL_BACK, "InstallFailed", str(ended))


def _swap(device: Device, record: AttemptRecord) -> Next | End:
    device.layout.swap(record.key.component, record.release, record.from_release)
    return Next(Step.CHECK)


def _check(device: Device, record: AttemptRecord) -> Next | End:
    LOG.info("checking %s %s", record.key.component, record.version)
    folder = device.layout.folder(record.key.component, record.release)
    problem = health.check(folder, record.health, _script_of(device, record, record.release))
    if problem:
        return Next(Step.ROLL_BACK, "HealthCheckFailed", problem)
    return Next(Step.COMMIT)


def _commit(device: Device, record: AttemptRecord) -> Next | End:
    component = record.key.component
    device.trust.raise_rollback_index(component, record.rollback_index)
    kept = {record.release, record.from_release or record.release}
    device.layout.prune(component, frozenset(kept))
    return _end(device, record, TargetState.COMPLETED, message=record.message)


def _roll_back(device: Device, record: AttemptRecord) -> Next | End:
    component, layout = record.key.component, device.layout
    LOG.warning("%s %s failed, going back: %s", component, record.version, record.message)
    folder = layout.folder(component, record.release)
    problem = ""
    has_script = (folder / ROLLBACK_SCRIPT).is_file()
    if has_script:
        ended = _run(device, record, record.release, ROLLBACK_SCRIPT, record.install_timeout_s)
        problem = "" if ended.is_success else str(ended)
    try:
        count = saved.restore(layout.saved(component))
    except OSError as error:
        count, problem = 1, f"cannot put back {error.filename}: {error.strerror}"
    if record.from_release and not has_script and not count:
        ended = _run(device, record, record.from_release, INSTALL_SCRIPT, record.install_timeout_s)
        problem = "" if ended.is_success else f"{ended} (of the previous release)"
    layout.swap(component, record.from_release, record.from_previous)
    return _rolled_back(device, record, problem)


def _rolled_back(device: Device, record: AttemptRecord, problem: str) -> Next | End:
    told_cause = f"{record.cause}: {record.message}"
    if problem:
        message = f"{problem}; {told_cause}"
        return _end(device, record, TargetState.FAILED, "RollbackFailed", message)
    if record.from_release is None:
        return _end(device, record, TargetState.FAILED, "NoPrevious", told_cause)
    return Next(Step.CHECK_PREVIOUS)


def _check_previous(device: Device, record: AttemptRecord) -> Next | End:
    previous = record.from_release or ""
    folder = device.layout.folder(record.key.component, previous)
    run = _script_of(device, record, previous)
    if problem := health.check_previous(folder, record.health, run):
        message = f"the previous release is not healthy: {problem}; {record.message}"
        return _end(device, record, TargetState.FAILED, "RollbackFailed", message)
    return _end(device, record, TargetState.ROLLED_BACK, record.cause, record.message)


def _script_of(device: Device, record: AttemptRecord, release: str) -> health.RunScript:
    def run(script: Path, timeout_s: float) -> Ended:
        name = str(script.relative_to(device.layout.folder(record.key.component, release)))
        return _run(device, record, release, name, timeout_s)

    return run


def _run(
    device: Device, record: AttemptRecord, release: str, script: str, timeout_s: float
) -> Ended:
    """Run a script of one of the component's releases; its process is in the journal first."""
    component, layout = record.key.component, device.layout
    other = record.from_release if release == record.release else record.release
    this, before = (layout.release(component, n) if n else None for n in (release, other))
    folder = layout.folder(component, release)
    variables = {
        "TOWLINE_COMPONENT": component,
        "TOWLINE_VERSION": this.version if this else "",
        "TOWLINE_PREVIOUS_VERSION": before.version if before else "",
        "TOWLINE_RELEASE": str(folder),
        "TOWLINE_PREVIOUS_RELEASE": str(layout.folder(component, before.name)) if before else "",
        "TOWLINE_ROOT": str(layout.root),
        "TOWLINE_DEVICE": device.identity.device,
        "TOWLINE_ATTEMPT": str(record.key.attempt),
    }

    def began(process: Process) -> None:
        state = device.journal.state
        device.journal.write(replace(state, attempt=replace(record, process=process)))

    return scripts.run(folder / script, variables=variables, timeout_s=timeout_s, began=began)


_STEPS: dict[Step, Callable[[Device, AttemptRecord], Next | End]] = {
    Step.DOWNLOAD: _download,
    Step.STAGE: _stage,
    Step.SAVE: _save,
    Step.INSTALL: _install,
    Step.SWAP: _swap,
    Step.CHECK: _check,
    Step.COMMIT: _commit,
    Step.ROLL_BACK: _roll_back,
    Step.CHECK_PREVIOUS: _check_previous,
}
