"""The attack table is whole: each row has its tests, and each still shows what it is there for."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.security.attack import Attack, Shown
from tests.security.attacks import ATTACKS

TESTS = Path(__file__).parents[1]


def test_every_row_has_its_place() -> None:
    assert [attack.row for attack in ATTACKS] == list(range(1, 41))
    assert all(attack.shown for attack in ATTACKS)


@cache
def source_of(file: str) -> dict[str, str]:
    """Every function and constant of a file, by its name; a function with its decorators."""
    text = (TESTS / file).read_text("utf-8")
    lines = text.splitlines()
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        start, end = node.lineno, node.end_lineno
        if isinstance(node, ast.FunctionDef):
            start = min([start, *(each.lineno for each in node.decorator_list)])
        for name in names_of(node):
            found[name] = "\n".join(lines[start - 1 : end])
    return found


def names_of(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def held_by(shown: Shown) -> str:
    """The test's source, with that of the constants that it names; empty when it is gone."""
    sources = source_of(shown.file)
    own = sources.get(f"test_{shown.test}", "")
    if not own:
        return ""
    names = {node.id for node in ast.walk(ast.parse(own)) if isinstance(node, ast.Name)}
    return "\n".join([own, *(sources[name] for name in sorted(names & set(sources)))])


def missing(shown: Shown) -> list[str]:
    """What the table says of a test and is not so."""
    held = held_by(shown)
    if not held:
        return [f"{shown.file} has no test_{shown.test}"]
    return [f"test_{shown.test} says nothing of {word}" for word in shown.words if word not in held]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"row {attack.row}")
def test_the_tests_of_a_row_stand_and_name_its_refusals(attack: Attack) -> None:
    assert [each for shown in attack.shown for each in missing(shown)] == []


def test_a_test_that_vanishes_or_changes_its_refusal_is_missed() -> None:
    (shown, *_) = ATTACKS[0].shown
    assert missing(shown) == []
    assert missing(Shown(shown.file, "that_never_was", ())) != []
    assert missing(Shown(shown.file, shown.test, ('"another-code"',))) != []
