"""`towline wait`: the outcome of a rollout as an exit code, for scripts and CI gates."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from git import Repo
from git.exc import GitError

from towline.cli.client import Client, connect
from towline.cli.exit_codes import ExitCode
from towline.cli.printing import tell
from towline.cli.settings import load
from towline.schemas.problems import Problem
from towline.schemas.states import RunState

POLL_S = 1.0
GATES = frozenset({"ThresholdNotMet", "NoEvidence"})
_DURATION = re.compile(r"(\d+)([smh])")
_UNITS = {"s": 1, "m": 60, "h": 3600}


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
    if (wanted := commit or _head()) is not None:
        _wait_for_commit(client, wanted, ends_at)
    while True:
        run = client.newest_run(name)
        code = judge(run)
        if code is not None:
            _tell_outcome(run, code)
            raise typer.Exit(code)
        _rest(ends_at, f"{name} is {run['status']}: {run['reason']} {run['message']}")


def seconds(text: str) -> int:
    """`30m` -> 1800; raises Problem."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Problem(f"{text!r} is no duration", remedy="write 90s, 30m or 2h")
    return int(found[1]) * _UNITS[found[2]]


def _head() -> str | None:
    """HEAD of the fleet repository that this is called in."""
    settings = load()
    if settings.organization is None or not (Path(settings.repository) / ".git").exists():
        return None
    try:
        return str(Repo(settings.repository).head.commit.hexsha)
    except (GitError, ValueError):
        return None


def _wait_for_commit(client: Client, commit: str, ends_at: float) -> None:
    """Until the server has applied it: else a former run would be judged."""
    while True:
        found = client.get("/repository")
        if (found["applied_commit"] or "").startswith(commit):
            return
        if (found["held_commit"] or "").startswith(commit):
            tell(f"commit {commit[:12]} is held: {found['hold_reason']}")
            raise typer.Exit(ExitCode.ROLLOUT_FAILED)
        why = f": {found['last_error']}" if found["last_error"] else ""
        _rest(ends_at, f"the server has not applied commit {commit[:12]} yet{why}")


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
            tell(f"  {device['device_id']}: {device['status']} {device['reason']}:"
                 f" {device['error_message'] or 'no message'}")  # fmt: skip
