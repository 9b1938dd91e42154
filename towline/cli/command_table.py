"""Commands by name, each imported only when it runs, so that `towline --help` starts at once.

Knows typer; knows no command. A row's target is a function, which becomes the command, or a
`typer.Typer`, which becomes a group of commands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from towline import __version__


@dataclass(frozen=True, slots=True)
class Row:
    """One command of the table."""

    name: str
    target: str
    """`towline.cli.module:attribute`."""
    about: str
    """One line for `towline --help`."""
    panel: str
    """The heading it stands under there."""


def build(rows: Sequence[Row]) -> Any:
    """The command line as one command: call it with arguments and `standalone_mode=False`."""
    targets = {row.name: row.target for row in rows}

    class Table(TyperGroup):
        """Help shows the rows; to run one its target is imported."""

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, _, rest = super().resolve_command(ctx, args)
            return name, load(str(name), targets[str(name)]), rest

    app = typer.Typer(cls=Table, no_args_is_help=True)
    app.callback()(_options)
    for row in rows:
        app.command(row.name, help=row.about, rich_help_panel=row.panel)(_stand_in)
    return get_command(app)


def load(name: str, target: str) -> Any:
    """The command behind a row."""
    module, attribute = target.split(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return get_command(alone)


def _stand_in() -> None:
    """Stands in the table for help and completion until the real command is loaded."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"towline {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Software rollouts to fleets of Linux devices as pull requests."""
