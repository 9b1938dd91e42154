"""Runs the scripts of a component's releases, with the process in the journal before they begin."""

from dataclasses import replace
from pathlib import Path

from towline.agent import health, scripts
from towline.agent.attempt import AttemptRecord, Process
from towline.agent.device import Device
from towline.agent.scripts import Ended

INSTALL = "install.sh"
ROLLBACK = "rollback.sh"


def runner(device: Device, record: AttemptRecord, release: str) -> health.RunScript:
    """What `health` runs the scripts of a release with."""

    def run(script: Path, timeout_s: float) -> Ended:
        name = str(script.relative_to(device.layout.folder(record.key.component, release)))
        return run_script(device, record, release, name, timeout_s)

    return run


def run_script(
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
