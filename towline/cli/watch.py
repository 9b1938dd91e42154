"""`towline watch`: one live tree on a terminal, one line per change in a pipe.

Devices that are fine are a count; only those that failed are rows.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from towline.cli.client import Client, connect
from towline.cli.output import plain_status, status
from towline.cli.printing import give, tell
from towline.cli.settings import load
from towline.cli.wanted_run import find_run, wanted_here
from towline.schemas.states import FINISHED_RUNS, RunState

REFRESH_S = 1.0


def watch(
    name: Annotated[str | None, typer.Argument(help="a Deployment; default: all")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on after the end")] = False,
) -> None:
    """Watch rollouts; ends when they are over or paused, unless --follow."""
    client = connect()
    _await_head(client, name)
    if sys.stdout.isatty():
        _watch_live(client, name, follow)
    else:
        _watch_lines(client, name, follow)


def _await_head(client: Client, name: str | None) -> None:
    """What was committed just now is to be watched, and not the run before it.

    Only beside the server, whose repository this is; another one may be behind or ahead of it.
    """
    settings = load()
    if name is None or settings.server is not None:
        return
    wanted = wanted_here(name, settings.branch)
    said = ""
    while isinstance(found := find_run(client, name, wanted), str):
        if found != said:
            tell(found)
            said = found
        time.sleep(REFRESH_S)


def _newest_runs(client: Client, name: str | None) -> list[dict[str, Any]]:
    if name is not None:
        return [client.newest_run(name)]
    newest: dict[str, dict[str, Any]] = {}
    for run in client.pages("/deployments", "deployments"):
        if run["name"] not in newest:
            newest[run["name"]] = client.run(run["id"])
    return list(newest.values())


def _is_over(runs: Iterable[Mapping[str, Any]]) -> bool:
    ends = FINISHED_RUNS | {RunState.PAUSED}
    return all(RunState(run["status"]) in ends for run in runs)


def _watch_live(client: Client, name: str | None, follow: bool) -> None:
    with Live(refresh_per_second=4) as live:
        while True:
            runs = _newest_runs(client, name)
            live.update(Group(*map(tree_of, runs)))
            if _is_over(runs) and not follow:
                return
            time.sleep(REFRESH_S)


def tree_of(run: Mapping[str, Any]) -> Tree:
    """A run, its batches, and of their devices only those that failed."""
    tree = Tree(Text.assemble(f"{run['name']} {run['target_version']} ", status(run["status"])))
    if words := reason_of(run):
        tree.add(Text(words))
    for hold in run["holds"]:
        tree.add(Text(way_out(hold)))
    for batch in run["batches"]:
        branch = tree.add(Text.assemble(f"{batch['name']} ", status(batch["state"])))
        if words := "; ".join(filter(None, [counts_of(batch), waits_of(batch)])):
            branch.add(Text(words))
        for device in failing(run["devices"]):
            if device["batch"] == batch["number"]:
                branch.add(Text.assemble(status(device["status"]), f" {device_line(device)}"))
    return tree


def way_out(hold: Mapping[str, Any]) -> str:
    """Who clears a hold, and when it ends by itself."""
    until = f", or at {hold['until']}" if hold["until"] else ""
    return f"{hold['reason']} is cleared by {hold['clearedBy']}{until}"


def waits_of(batch: Mapping[str, Any]) -> str:
    """What a batch waits for, in words; the run itself says what the open one does."""
    return f"waits for {batch['waitsFor']}" if batch["state"] in ("waiting", "soaking") else ""


def reason_of(run: Mapping[str, Any]) -> str:
    """What the run waits for, in words."""
    return " ".join(filter(None, [run["reason"], run["message"]]))


def counts_of(batch: Mapping[str, Any]) -> str:
    """`3 completed, 1 rolled_back`."""
    return ", ".join(f"{n} {word}" for word, n in sorted(batch["counts"].items()))


def failing(devices: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The devices that deserve a row."""
    return [device for device in devices if device["status"] in ("failed", "rolled_back")]


def device_line(device: Mapping[str, Any]) -> str:
    """One failing device in words."""
    said = filter(None, [device["device_id"], device["reason"], device["error_message"]])
    return ": ".join(said)


def _watch_lines(client: Client, name: str | None, follow: bool) -> None:
    said: set[str] = set()
    while True:
        runs = _newest_runs(client, name)
        for run in runs:
            for line in lines_of(run):
                if line not in said:
                    said.add(line)
                    give(line)
        sys.stdout.flush()
        if _is_over(runs) and not follow:
            return
        time.sleep(REFRESH_S)


def lines_of(run: Mapping[str, Any]) -> list[str]:
    """What there is to say of a run now; what was said before is not said again."""
    title = f"{run['name']} {run['target_version']}"
    words = " ".join(filter(None, [plain_status(run["status"]), reason_of(run)]))
    lines = [f"{title}: {words}", *(f"{title}: {way_out(hold)}" for hold in run["holds"])]
    for batch in run["batches"]:
        lines.append(f"{title}: batch {batch['name']} {plain_status(batch['state'])}")
    lines += [f"{title}: {device['status']} {device_line(device)}"
              for device in failing(run["devices"])]  # fmt: skip
    return lines
