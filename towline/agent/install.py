"""The steps forward, format `script`: what each does and what follows from it.

Every step may be repeated after a stop at any instruction. Nothing that runs is touched before
INSTALL; from there on the attempt ends with the new release healthy or with the old one back.
"""

import shutil
from dataclasses import replace

from towline.agent import durable, fetch, health, saved
from towline.agent.attempt import AttemptRecord, Step, success_of
from towline.agent.device import LOG, Device
from towline.agent.layout import Release
from towline.agent.outcome import End, Next, end
from towline.agent.release_scripts import INSTALL, run_script, runner
from towline.agent.transfer import FetchFailed, Wanted
from towline.agent.unpack import unpack
from towline.schemas.problems import Problem, Refused, reason_of
from towline.schemas.states import TargetState


def _unchanged(device: Device, record: AttemptRecord, reason: str, message: str) -> End:
    """Failed before anything was touched."""
    return end(device, record, TargetState.FAILED, reason, message)


def download(device: Device, record: AttemptRecord) -> Next | End:
    """Fetch the package; raises fetch.Stopped to leave it for later."""
    key, layout = record.key, device.layout
    accepted = device.accepted
    if accepted is None:
        return End()
    wanted = next(each for each in accepted.document.components if each.name == key.component)
    statement = accepted.statements[key.component]
    linked = (layout.current_name(key.component), layout.previous_name(key.component))
    layout.prune(key.component, frozenset(name for name in linked if name))
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


def stage(device: Device, record: AttemptRecord) -> Next | End:
    """Unpack the package beside the other releases; whether it may be installed is asked anew."""
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
    return End()


def _disk_reason(error: OSError) -> str:
    return "NoSpace" if error.errno in durable.NO_SPACE_ERRNOS else "InstallFailed"


def save(device: Device, record: AttemptRecord) -> Next | End:
    """Copy what the package says it may overwrite."""
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


def install(device: Device, record: AttemptRecord) -> Next | End:
    """Run install.sh."""
    again = " once more, it was interrupted" if record.runs > 1 else ""
    LOG.info("installing %s %s%s", record.key.component, record.version, again)
    ended = run_script(device, record, record.release, INSTALL, record.install_timeout_s)
    if ended.is_success:
        note = f"{INSTALL} was interrupted and run again" if again else ""
        return Next(Step.SWAP, message=note)
    return Next(Step.ROLL_BACK, "InstallFailed", str(ended))


def swap(device: Device, record: AttemptRecord) -> Next | End:
    """Make the new release the current one."""
    device.layout.swap(record.key.component, record.release, record.from_release)
    return Next(Step.CHECK)


def check(device: Device, record: AttemptRecord) -> Next | End:
    """Ask whether the new release is healthy; raises fetch.Stopped to ask at the next start."""
    LOG.info("checking %s %s", record.key.component, record.version)
    folder = device.layout.folder(record.key.component, record.release)
    run = runner(device, record, record.release)
    problem = health.check(folder, record.health, run, device.stop.wait)
    if problem:
        return Next(Step.ROLL_BACK, "HealthCheckFailed", problem)
    return Next(Step.COMMIT)


def commit(device: Device, record: AttemptRecord) -> Next | End:
    """Keep the new release, and with it its rollback index."""
    component = record.key.component
    device.trust.raise_rollback_index(component, record.rollback_index)
    kept = {record.release, record.from_release or record.release}
    device.layout.prune(component, frozenset(kept))
    state, reason = success_of(is_rollback=record.is_rollback)
    return end(device, record, state, reason, record.message)
