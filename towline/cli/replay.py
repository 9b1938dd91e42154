"""`replay`: what stood at a time, and whether the record of changes comes to what is stored.

Asks the server, or reads a store's file.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli.client import checked_id, connect
from towline.cli.durations import seconds
from towline.cli.exit_codes import ExitCode, Misused
from towline.cli.output import Format, Output, plain_status, show_document
from towline.cli.printing import give
from towline.cli.settings import load
from towline.reconciler.lengths import counted
from towline.reconciler.store.address import place_of
from towline.schemas import times
from towline.schemas.problems import Problem, Refused


def replay(
    name: Annotated[str | None, typer.Argument(help="only this Deployment")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-09-24T06:00:00Z, or 2h: so long ago")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="a server's towline.db, data folder or database"),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Rebuild from events what stood at a time; without a time also compare it with the store."""
    until = None if at is None else moment(at, time.time())
    if name is not None:
        checked_id(name)
    document = _from_server(until, name) if store is None else _from_store(store, until, name)
    if output is Format.TABLE:
        for line in lines(document):
            give(line)
    else:
        show_document(document, output)
    if document.get("differences"):
        raise typer.Exit(ExitCode.ERROR)


def moment(text: str, now: float) -> int:
    """A time as RFC 3339 in UTC, or as how long ago; raises Misused."""
    try:
        return times.from_rfc3339(text)
    except Refused:
        pass
    try:
        return int(now) - seconds(text)
    except Misused:
        raise Misused(
            f"{text!r} is no time", remedy="write 2026-09-24T06:00:00Z, or 2h for two hours ago"
        ) from None


def _from_server(until: int | None, name: str | None) -> dict[str, Any]:
    return connect().get("/replay", at=until, deployment=name)


def _from_store(named: str, until: int | None, name: str | None) -> dict[str, Any]:
    from towline.reconciler.replaying import replay_store  # noqa: PLC0415 heavy
    from towline.reconciler.store.engine import open_existing  # noqa: PLC0415
    from towline.reconciler.store.private_copy import copy_of  # noqa: PLC0415

    organization = load().organization
    if organization is None:
        raise Problem(
            "nothing here names the organization",
            remedy="go to the fleet repository, or set TOWLINE_ORGANIZATION",
        )
    place = place_of(named)
    # A copy of a database leaves events out.
    store = copy_of(place) if isinstance(place, Path) else open_existing(place)
    with store.read() as connection:
        return replay_store(connection, organization, until, name)


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A replay for a terminal."""
    for deployment in document["deployments"]:
        yield from _deployment(deployment)
    yield _summary(document)
    if document["at"] is not None:
        return
    if document["olderRuns"]:
        yield f"left out: {counted(document['olderRuns'], 'run')} that began before the record"
    for each in document["firstDifferences"]:
        yield f"  differs: {each}"
    n = document["differences"]
    yield f"{n} rows differ from the store" if n else "equals the store"


def _deployment(deployment: Mapping[str, Any]) -> Iterator[str]:
    words = (deployment["reason"], deployment["message"])
    yield " ".join(
        [
            f"{deployment['name']} {deployment['targetVersion']} ",
            plain_status(deployment["status"]),
            *filter(None, words),
        ]
    )
    for batch in deployment["batches"]:
        counts = ", ".join(f"{n} {word}" for word, n in batch["counts"].items()) or "no devices"
        number = batch["number"] + 1
        yield f"  batch {number}  {batch['name']}  {batch['state']}  {batch['size']}: {counts}"
    for hold in deployment["holds"]:
        yield f"  hold     {hold['reason']} since {hold['since']}: {hold['message']}".rstrip(": ")


def _summary(document: Mapping[str, Any]) -> str:
    if document["since"] is None:
        return "nothing was recorded" + (f" up to {document['at']}" if document["at"] else "")
    made = document["rebuilt"]
    return (
        f"rebuilt {counted(made['runs'], 'run')}, {counted(made['batches'], 'batch')},"
        f" {counted(made['holds'], 'hold')}, {counted(made['targets'], 'target')}"
        f" from {counted(document['changes'], 'change')} since {document['since']}"
    )
