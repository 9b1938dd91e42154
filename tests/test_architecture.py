"""The house holds: imports go one way, and no module or class is named after nothing.

docs/architecture.md tells the same in words. Reads the source only, so that an import inside a
function counts as well.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOT = PROJECT / "towline"

MAY_IMPORT = {
    "schemas": {"schemas"},
    "manifests": {"manifests", "schemas"},
    "reconciler.store": {"reconciler.store", "manifests", "schemas"},
    "reconciler": {"reconciler", "reconciler.store", "manifests", "schemas"},
    "reconciler.server": {
        "reconciler.server",
        "reconciler",
        "reconciler.store",
        "manifests",
        "schemas",
    },
    "reconciler.forge": {
        "reconciler.forge",
        "reconciler",
        "reconciler.store",
        "manifests",
        "schemas",
    },
    "agent": {"agent", "schemas"},
    "swarm": {"swarm", "agent", "reconciler", "schemas"},
}
"""Each room and the rooms it may use; the cli, which is not listed, may use all of them."""

LIBRARIES = {"schemas": {"cryptography"}, "agent": {"cryptography"}}
"""The rooms that run on a small device, and what they may use beside the standard library."""

EMPTY_WORDS = frozenset({"manager", "handler", "helper", "helpers", "util", "utils", "misc"})
"""Words that say nothing of what a module or class does."""

SOURCES = sorted(ROOT.rglob("*.py"))
OWN = [
    file
    for folder in ("towline", "tests", "examples", "bench", "deploy")
    for file in sorted((PROJECT / folder).rglob("*.py"))
]


def room_of(module: str) -> str:
    """`towline.reconciler.store.runs` -> `reconciler.store`; the package itself is ``."""
    parts = module.split(".")[1:]
    inner = ".".join(parts[:2])
    return inner if inner in MAY_IMPORT else ".".join(parts[:1])


def module_of(file: Path) -> str:
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported; a name imported from a room may be a module of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            is_room = str(node.module).removeprefix("towline.") in {*MAY_IMPORT, "cli", "towline"}
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if is_room else str(node.module)


def violations(module: str, source: str) -> list[str]:
    """What a module imports that its room must not, in words."""
    room = room_of(module)
    if room not in MAY_IMPORT:
        return []
    found = []
    for name in imported(ast.parse(source)):
        top = name.split(".")[0]
        if top == "towline":
            other = room_of(name)
            if other in {*MAY_IMPORT, "cli"} and other not in MAY_IMPORT[room]:
                found.append(f"{module} imports {name}: {room} -> {other}")
        elif room in LIBRARIES and top not in LIBRARIES[room] | sys.stdlib_module_names:
            found.append(f"{module} imports {name}, which a device does not have")
    return found


def empty_names(file_stem: str, source: str) -> list[str]:
    """The names of a module and its classes that hold a word which says nothing."""
    classes = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return [
        name
        for name in (file_stem, *classes)
        if EMPTY_WORDS
        & {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    ]


@pytest.mark.parametrize("file", SOURCES, ids=[module_of(file) for file in SOURCES])
def test_imports_go_one_way(file: Path) -> None:
    assert violations(module_of(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("towline.schemas.x", "import pydantic"),
        ("towline.schemas.x", "from towline.manifests import load"),
        ("towline.schemas", "import towline.agent.unpack"),
        ("towline.manifests.x", "from towline.reconciler.decide import decide"),
        ("towline.manifests.x", "from towline.agent import unpack"),
        ("towline.reconciler.store.x", "from towline.reconciler.decide import decide"),
        ("towline.reconciler.store.x", "from towline.reconciler import decide"),
        ("towline.reconciler.x", "from towline.reconciler.server.app import app"),
        ("towline.reconciler.x", "from towline.reconciler import server"),
        ("towline.reconciler.x", "def f() -> None:\n    from towline.agent import loop"),
        ("towline.reconciler.server.x", "from towline.reconciler.forge import github"),
        ("towline.reconciler.forge.x", "from towline.cli import main"),
        ("towline.agent.x", "from towline.manifests.model import Deployment"),
        ("towline.agent.x", "import yaml"),
        ("towline.agent.x", "from towline import cli"),
        ("towline.agent.x", "from towline.swarm import line"),
        ("towline.swarm.x", "from towline.reconciler.store import access"),
    ],
)
def test_an_import_against_the_order_is_found(module: str, source: str) -> None:
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("towline.agent.x", "import cryptography, json\nfrom towline import __version__"),
        ("towline.reconciler.x", "from towline.reconciler import store\nimport rich"),
        ("towline.reconciler.server.x", "from towline.reconciler.store.runs import Run"),
        ("towline.cli.x", "from towline.agent import unpack\nimport towline.reconciler.server.app"),
    ],
)
def test_an_import_in_the_order_is_not_found(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_every_room_of_the_house_has_its_rule() -> None:
    folders = {path.parent for path in SOURCES} - {ROOT, ROOT / "cli"}
    rooms = {room_of(module_of(folder / "__init__.py")) for folder in folders}
    assert rooms == set(MAY_IMPORT)


def test_no_module_or_class_is_named_after_nothing() -> None:
    found = {
        str(file.relative_to(PROJECT)): names
        for file in OWN
        if (names := empty_names(file.stem, file.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("stem", "source"),
    [
        ("utils", ""),
        ("test_helpers", ""),
        ("x", "class JobManager: ..."),
        ("x", "def f() -> None:\n    class HTTPHandler: ..."),
    ],
)
def test_a_name_that_says_nothing_is_found(stem: str, source: str) -> None:
    assert empty_names(stem, source)
