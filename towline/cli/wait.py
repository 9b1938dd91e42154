"""`towline wait`: the outcome of a rollout as an exit code, for scripts and CI gates."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from towline.cli.client import checked_id, connect
from towline.cli.durations import seconds
from towline.cli.exit_codes import ExitCode
from towline.cli.printing import tell
from towline.cli.wanted_run import find_run, wanted_here
from towline.schemas.states import RunState

POLL_S = 1.0
GATES = frozenset({"ThresholdNotMet", "AnalysisFailed", "NoEvidence"})


def judge(run: Mapping[str, Any]) -> ExitCode | None:
    """The exit code that a run stands for; None while it is still open."""
    match RunState(run["status"]):
        case RunState.COMPLETED:
            return ExitCode.OK
        case RunState.FAILED | RunState.CANCELLED:
            return ExitCode.ROLLOUT_FAILED
    if any(hold["reason"] in GATES for hold in run["holds"]):
        return ExitCode.ROLLOUT_FAILED
    return None


def wait(
    name: Annotated[str, typer.Argument(help="the Deployment")],
    timeout: Annotated[str, typer.Option(help="at most so long, such as 30m")] = "30m",
    commit: Annotated[
        str | None, typer.Option(help="judge the run of this commit; default: HEAD here")
    ] = None,
) -> None:
    """Wait until the rollout is over: 0 completed, 5 failed or held by a gate, 124 timed out."""
    ends_at = time.monotonic() + seconds(timeout)
    client = connect()
    wanted = wanted_here(checked_id(name), commit)
    while True:
        found = find_run(client, name, wanted)
        if isinstance(found, str):
            waits_for = found
        elif (code := judge(found)) is not None:
            _tell_outcome(found, code)
            raise typer.Exit(code)
        else:
            waits_for = f"{name} is {found['status']}: {found['reason']} {found['message']}"
        _rest(ends_at, waits_for)


def _rest(ends_at: float, waits_for: str) -> None:
    if time.monotonic() >= ends_at:
        tell(f"timed out: {waits_for}".rstrip())
        raise typer.Exit(ExitCode.TIMED_OUT)
    time.sleep(POLL_S)


def _tell_outcome(run: Mapping[str, Any], code: ExitCode) -> None:
    words = " ".join(filter(None, [run["status"], run["reason"], run["message"]]))
    tell(f"{run['name']} {run['target_version']}: {words}")
    if code is ExitCode.OK:
        return
    for device in run["devices"]:
        if device["status"] in ("failed", "rolled_back"):
            why = ": ".join(filter(None, [device["reason"], device["error_message"]]))
            tell(f"  {device['device_id']}: {device['status']} {why}")
