"""`towline audit`: who did what, when and why."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer

from towline.cli.client import Client, connect
from towline.cli.output import Column, Format, Kind, Output, show_list
from towline.cli.replay import moment

PAGE_SIZE = 500
ACT = Kind(
    "Act",
    "id",
    (
        Column("TIME", "at", is_time=True),
        Column("PERSON", "person"),
        Column("ROLE", "role", is_wide=True),
        Column("TOKEN", "token", is_wide=True),
        Column("ACT", "action"),
        Column("DEPLOYMENT", "deployment"),
        Column("DEVICE", "device"),
        Column("ON", "object", is_wide=True),
        Column("RESULT", "result"),
        Column("WHY", "why", is_prose=True),
        Column("REQUEST", "request", is_wide=True),
    ),
)

app = typer.Typer(help="Who did what, when and why.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Who did what, when and why."""


@app.command("list")
def list_acts(
    output: Output = Format.TABLE,
    person: Annotated[str | None, typer.Option(help="only of this name or token id")] = None,
    deployment: Annotated[str | None, typer.Option(help="only on this Deployment")] = None,
    device: Annotated[str | None, typer.Option(help="only on this device")] = None,
    action: Annotated[
        str | None, typer.Option(help="only such acts: deployment.pause, or all of deployment")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="from this time on: RFC 3339, or 2h ago")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="before this time")] = None,
    limit: Annotated[int, typer.Option(help="at most so many", min=1)] = 100,
) -> None:
    """List acts of people, newest first."""
    now = time.time()
    query = {
        "person": person,
        "deployment": deployment,
        "device": device,
        "action": action,
        "since": None if since is None else moment(since, now),
        "until": None if until is None else moment(until, now),
    }
    found = islice(_acts(connect(), query, min(limit, PAGE_SIZE)), limit)
    is_data = output in (Format.JSON, Format.YAML)
    show_list(ACT, found if is_data else map(_row, found), output)


def _acts(client: Client, query: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = client.get("/audit", **query, cursor=cursor, limit=size)
        yield from page["acts"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _row(act: dict[str, Any]) -> dict[str, Any]:
    """The reason that was given, or why it was refused."""
    return {**act, "why": act["detail"].get("refusal") or act["detail"].get("reason")}
