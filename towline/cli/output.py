"""Rows as tables for people, as lines for pipes, as JSON, YAML or names for scripts.

Columns are defined once per kind. Status words come with their glyph and colour, never with colour
alone; NO_COLOR and pipes get plain text.
"""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from towline.cli.printing import give
from towline.reconciler.lengths import about
from towline.schemas import times
from towline.schemas.states import COLOURS, GLYPHS

API_VERSION = "towline/v1"
PROSE_WIDTH = 24
"""A column of prose is that wide at least, where the words are."""


class Format(StrEnum):
    """`-o`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


Output = Annotated[Format, typer.Option("-o", "--output", help="table, wide, json, yaml or name")]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a kind."""

    title: str
    key: str
    """`a.b` looks up nested."""
    is_wide: bool = False
    is_status: bool = False
    is_time: bool = False
    """On a terminal told as `3 min ago`."""
    is_prose: bool = False
    """May be broken into lines on a terminal; nothing else is, and nothing is ever cut."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is listed."""

    name: str
    """`Device`; a list is a `DeviceList`."""
    id_key: str
    columns: tuple[Column, ...]


def show_list(kind: Kind, found: Iterable[Mapping[str, Any]], form: Format) -> None:
    """Print items in the wanted form."""
    items = list(found)
    if form in (Format.JSON, Format.YAML):
        document = {"apiVersion": API_VERSION, "kind": f"{kind.name}List", "items": items}
        show_document(document, form)
    elif form is Format.NAME:
        for item in items:
            give(str(item[kind.id_key]))
    else:
        columns = [c for c in kind.columns if form is Format.WIDE or not c.is_wide]
        _show_table(columns, items)


def show_document(document: Mapping[str, Any], form: Format) -> None:
    """Print one document as JSON or YAML."""
    if form is Format.YAML:
        import yaml  # noqa: PLC0415 only where it is asked for

        give(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True).rstrip())
    else:
        give(json.dumps(document, indent=2, ensure_ascii=False))


def _show_table(columns: Sequence[Column], items: Sequence[Mapping[str, Any]]) -> None:
    rows = [[_text(item, column) for column in columns] for item in items]
    if not sys.stdout.isatty():
        for row in rows:
            give("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, no_wrap=not column.is_prose)
    cells = [
        [_cell(column, text) for column, text in zip(columns, row, strict=True)] for row in rows
    ]
    for row_cells in cells:
        table.add_row(*row_cells)
    console = Console()
    console.width = max(console.width, _least_width(columns, cells))
    console.print(table)


def _least_width(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> int:
    """A narrow terminal breaks the lines itself: an id that is cut is of no use."""
    least = 0
    for number, column in enumerate(columns):
        longest = max([len(column.title), *(row[number].cell_len for row in cells)])
        least += (min(longest, PROSE_WIDTH) if column.is_prose else longest) + 2
    return least


def _cell(column: Column, text: str) -> Text:
    """What devices say is never read as markup."""
    if column.is_time and text != "-":
        return Text(f"{about(max(0, int(time.time()) - times.from_rfc3339(text)))} ago")
    return status(text) if column.is_status else Text(text)


def _text(item: Mapping[str, Any], column: Column) -> str:
    value: Any = item
    for part in column.key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ",".join(f"{key}={each}" for key, each in value.items()) or "-"
        case list():
            return ",".join(map(str, value)) or "-"
    return str(value) or "-"


def status(word: str) -> Text:
    """A status word with its glyph and colour."""
    return Text(f"{GLYPHS.get(word, ' ')} {word}", style=COLOURS.get(word, ""))


def plain_status(word: str) -> str:
    """A status word with its glyph."""
    return f"{GLYPHS.get(word, ' ')} {word}"
