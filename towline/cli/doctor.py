"""`towline doctor`: whether a server's store is sound; run it where the server runs."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from towline.cli.exit_codes import ExitCode
from towline.cli.output import Format, show_document
from towline.cli.printing import give
from towline.cli.settings import load
from towline.cli.store_place import place_meant


class DoctorFormat(StrEnum):
    """`-o` of `doctor`."""

    TEXT = "text"
    JSON = "json"


def doctor(
    store: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="this store (default: the server's of this folder)"),
    ] = None,
    output: Annotated[
        DoctorFormat, typer.Option("-o", "--output", help="text or json")
    ] = DoctorFormat.TEXT,
) -> None:
    """Look whether what the server keeps is sound: counters, references, clock, disk."""
    from towline.reconciler.doctor import examine  # noqa: PLC0415 heavy
    from towline.reconciler.store.engine import open_existing  # noqa: PLC0415

    settings = load()
    place = place_meant(store, settings)
    opened = open_existing(place)
    try:
        data = place.parent if isinstance(place, Path) else settings.data
        found = examine(opened, data, time.time())
    finally:
        opened.close()
    if output is DoctorFormat.JSON:
        show_document(
            {"kind": "Doctor", "checks": [each.document() for each in found]}, Format.JSON
        )
    for each in found if output is DoctorFormat.TEXT else ():
        give(f"{'ok ' if each.is_well else 'BAD'}  {each.name:<10}  {each.message}")
        if each.remedy:
            give(f"      → {each.remedy}")
    if not all(each.is_well for each in found):
        raise typer.Exit(ExitCode.ERROR)
