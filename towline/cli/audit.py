"""`towline audit`: who did what, when and why, and whether the record of it is whole."""

import time
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from towline.cli.client import Client, connect
from towline.cli.output import API_VERSION, Column, Format, Kind, Output, show_document, show_list
from towline.cli.printing import give
from towline.cli.replay import moment
from towline.schemas import audit_chain
from towline.schemas.problems import Problem, Refused

PAGE_SIZE = 500
HEAD_LEAST = 12
"""Fewer digits of a hash would fit some act by chance."""
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
        Column("DEVICE", "device_id"),
        Column("ON", "object", is_wide=True),
        Column("RESULT", "result"),
        Column("WHY", "why", is_prose=True),
        Column("REQUEST", "request", is_wide=True),
        Column("HASH", "hash", is_wide=True),
    ),
)


class VerifyFormat(StrEnum):
    """`-o` of `verify`."""

    TEXT = "text"
    JSON = "json"


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


@app.command()
def verify(
    output: Annotated[VerifyFormat, typer.Option("-o", "--output")] = VerifyFormat.TEXT,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="from this time on: RFC 3339, or 2h ago")
    ] = None,
    head: Annotated[
        str | None, typer.Option(metavar="HASH", help="noted earlier; it must be there still")
    ] = None,
) -> None:
    """Check on this machine that no act was changed, removed or put in.

    Each act has the hash of the one before it. A hash noted elsewhere (by a log, or by this command
    earlier) shows that none was cut off at the end. Ends with 1 when something is wrong.
    """
    client = connect()
    organization = client.get("/audit", limit=1)["organization"]
    query = {"since": None if since is None else moment(since, time.time())}
    acts = list(_acts(client, query, PAGE_SIZE))
    problem = _problem_of(acts, organization, is_whole=since is None, head=head)
    if output is VerifyFormat.JSON:
        show_document(_verdict(acts, organization, problem), Format.JSON)
    elif problem is None:
        give(_words(acts, organization))
    if problem is not None:
        raise Problem(problem, remedy="compare with a backup: `towline audit list -o json`")


def _problem_of(
    acts: list[dict[str, Any]], organization: str, *, is_whole: bool, head: str | None
) -> str | None:
    """What is wrong; None when nothing is."""
    try:
        audit_chain.check(acts, organization)
    except Refused as refused:
        return f"the audit of {organization} is not as it was written: {refused.detail}"
    if is_whole and acts and acts[-1]["number"] != 1:
        return f"the audit of {organization} begins with act {acts[-1]['number']}: some are gone"
    if head is not None and len(head) < HEAD_LEAST:
        return f"--head takes a hash, at least {HEAD_LEAST} digits of it"
    if head is not None and not any(act["hash"].startswith(head) for act in acts):
        return f"no act has the hash {head}: some were cut off since it was noted"
    return None


def _words(acts: list[dict[str, Any]], organization: str) -> str:
    if not acts:
        return f"the audit of {organization} has no acts in that time"
    newest, oldest = acts[0], acts[-1]
    return (
        f"{len(acts)} acts of {organization}, {oldest['number']} to {newest['number']},"
        f" {oldest['at']} to {newest['at']}: as they were written\nhead {newest['hash']}"
    )


def _verdict(acts: list[dict[str, Any]], organization: str, problem: str | None) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "AuditVerdict",
        "organization": organization,
        "isWhole": problem is None,
        "problem": problem,
        "acts": len(acts),
        "first": acts[-1]["number"] if acts else None,
        "last": acts[0]["number"] if acts else None,
        "head": acts[0]["hash"] if acts else None,
    }


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
