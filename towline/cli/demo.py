"""`towline demo`: the whole story on this machine, told as it happens, true or exit code 1."""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from towline.cli.demo_fleet import DemoFleet
from towline.cli.demo_story import Outcome, tell_story
from towline.cli.exit_codes import ExitCode
from towline.cli.printing import give, tell

DEVICES = [f"till-{n}" for n in range(1, 9)]
PAGE = "/admin/edge/ota"


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="end with one JSON object; the story goes to stderr")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="leave the server and agents up")] = False,
) -> None:
    """Ship a good release, a bad one, and revert it, with 8 real agents."""
    began = time.monotonic()
    # A killed demo must not leave its processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.ERROR))
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    fleet = DemoFleet(Path(tempfile.mkdtemp(prefix="towline-demo-")), DEVICES)
    is_kept = False
    try:
        outcome = _play(fleet, console)
        outcome.document["seconds"] = round(time.monotonic() - began, 1)
        is_kept = keep
    finally:
        if not is_kept:
            fleet.stop()
            fleet.remove()
    _close(outcome, fleet, console, as_json=as_json, is_kept=is_kept)


def _play(fleet: DemoFleet, console: Console) -> Outcome:
    console.print(
        f"[bold]Towline demo[/]: a git repository, a server, {len(fleet.devices)} agents\n"
    )
    fleet.begin()
    fleet.enrol()
    console.print(f"   {len(fleet.devices)} devices enrolled\n")
    return tell_story(fleet, console.print)


def _close(
    outcome: Outcome, fleet: DemoFleet, console: Console, *, as_json: bool, is_kept: bool
) -> None:
    console.print()
    console.print(_table(outcome.document))
    for claim in outcome.untrue:
        tell(f"NOT TRUE: {claim}")
    if is_kept:
        tell(f"the server is up: {fleet.client.server}{PAGE}")
        tell(f"  token: {fleet.repository / '.towline/data/admin.token'}")
        tell(f"  folder: {fleet.folder}")
        tell(f"  end it: kill -- {' '.join(f'-{group}' for group in fleet.groups)}")
    if as_json:
        give(json.dumps(outcome.document, ensure_ascii=False))
    if outcome.untrue:
        raise typer.Exit(ExitCode.ERROR)


def _table(document: dict[str, Any]) -> Table:
    table = Table(
        "part", "status", "devices", title=f"{document['seconds']} s", title_justify="left"
    )
    good, bad, back = document["good"], document["bad"], document["return"]
    table.add_row("good release", f"✓ {good['status']}", _words(good["devices"]))
    table.add_row("bad release", f"‖ {bad['status']} {bad['reason']}", _words(bad["devices"]))
    table.add_row(
        "git revert",
        f"✓ {back['status']}",
        f"{back['moved']} moved, {back['downloads']} downloads,"
        f" {back['devices_on_good_version']} on the good version",
    )
    return table


def _words(devices: dict[str, int]) -> str:
    return ", ".join(f"{n} {status}" for status, n in devices.items())
