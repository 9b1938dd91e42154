"""docs/commands.md names every command and every option that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from towline.cli.command_table import load
from towline.cli.main import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, Any]]:
    """Each command by its whole name, `package build`."""
    for name, target, *_ in COMMANDS:
        yield from _leaves(name, load(name, target))


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for sub, each in inner.items():
        yield from _leaves(f"{name} {sub}", each)


@pytest.mark.parametrize(("name", "command"), [pytest.param(*c, id=c[0]) for c in commands()])
def test_the_page_names_every_command_and_option(name: str, command: Any) -> None:
    (section,) = (part for part in PAGE.split("\n## ") if re.search(_row(name), part))
    found = re.search(_row(name), section)
    assert found is not None
    about = [line for line in section.splitlines() if not line.startswith("|")]
    said = "\n".join([found.group(), *about])
    options = {
        option
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option not in ("--help", "--output")
    }
    assert not {option for option in options if option not in said}


def _row(name: str) -> str:
    return rf"(?m)^\| `towline {name}[ `].*$"
