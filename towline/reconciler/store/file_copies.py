"""Copies of a store's SQLite file: one taken while a server uses it, and one put in its place.

A copy is one whole file, with nothing beside it, and readable by its owner alone: it holds what
people and devices are recognised by.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from towline.reconciler.store import owner_only
from towline.schemas.problems import Problem

_BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a file that is in use."""


def take(source: Path, target: Path) -> None:
    """Write what `source` holds at one moment to the new file `target`; raises Problem.

    Nobody who reads or writes the source meanwhile has to wait.
    """
    if target.exists():
        raise Problem(f"{target} is there already", remedy="name a new file, or move that one away")
    under_way = target.with_name(f"{target.name}.part")
    try:
        under_way.unlink(missing_ok=True)
        owner_only.make_file(under_way)
        _copy(source, under_way)
        _keep(under_way)
        under_way.rename(target)
        _keep(target.parent)
    except sqlite3.Error as error:
        raise Problem(
            f"{source} cannot be copied to {target}: {error}",
            remedy="look at that file, and at the room on the disk",
        ) from None
    finally:
        under_way.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    address = f"{source.resolve().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True)) as taken,
        closing(sqlite3.connect(target)) as given,
    ):
        taken.backup(given)
        # Else whoever only reads the copy makes files beside it.
        given.execute("PRAGMA journal_mode=DELETE")
        (verdict,) = given.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {verdict}")


def put(file: Path, place: Path, former: Path) -> None:
    """Let `file` be what is at `place`; what was there is kept as `former`. Nobody uses either."""
    owner_only.tighten(place)
    # The log goes first: beside another file than its own it would destroy that one.
    for name in _BESIDE:
        old = place.with_name(place.name + name)
        if old.exists():
            old.rename(former.with_name(former.name + name))
    if place.exists():
        former.hardlink_to(place)  # so that at no moment there is none
    _keep(file)
    file.rename(place)
    _keep(place.parent)


def _keep(path: Path) -> None:
    """Through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
