"""`towline backup` and `towline restore`: the store of a server, on its own machine."""

import time
from pathlib import Path
from typing import Annotated

import typer

from towline.cli.printing import give, tell
from towline.cli.settings import Settings, load
from towline.reconciler.store.address import STORE_FILE, is_url, place_of
from towline.schemas import times
from towline.schemas.problems import Problem


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="the new file")],
    store: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="this store (default: the server's of this folder)"),
    ] = None,
) -> None:
    """Copy the store as it is at one moment, also while a server uses it."""
    from towline.reconciler.store import file_copies  # noqa: PLC0415

    settings = load()
    if is_url(store or "") or (store is None and settings.store is not None):
        raise _database("backed up", "pg_dump --format=custom --file=FILE DATABASE")
    place = place_of(store or str(settings.data / STORE_FILE))
    assert isinstance(place, Path)
    file_copies.take(place, file)
    give(str(file))
    tell(f"{file.stat().st_size} bytes; keep it as secret as the store itself")
    tell("keep beside it what it does not hold: the online key, tls.crt and tls.key")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="of `towline backup`")],
    data: Annotated[
        Path | None, typer.Option(help="the server's data folder (default: of this folder)")
    ] = None,
) -> None:
    """Put a backup in the store's place; the server must be stopped."""
    from towline.reconciler.server.restoring import restore as put_back  # noqa: PLC0415 heavy

    settings: Settings = load()
    if data is None and settings.store is not None:
        raise _database("restored", "pg_restore --clean --dbname=DATABASE FILE")
    done = put_back(file, (data or settings.data).resolve(), int(time.time()))
    give(str(done.store))
    if done.former is not None:
        tell(f"the former store is kept as {done.former}")
    if done.newest:
        tell(f"whatever happened after {times.to_rfc3339(done.newest)} is forgotten")
    for name in done.held:
        tell(f"{name} is held as RestoredFromBackup")
    tell("what git's commits until now begin anew will be held, too: a pause may be forgotten")
    tell("start the server, look at them, and let each go on: towline approve NAME --reason T")


def _database(what: str, command: str) -> Problem:
    return Problem(
        f"the store is a Postgres database, which is {what} by Postgres's own tools",
        remedy=f"{command}; its runs are held once devices show that it forgot something",
    )
