"""Who reaches beyond one organization: read from the source, so that it is a list and no accident.

People are served by a desk whose store is bound to their organization (`store/bound.py`). What is
listed here goes around that, each for a reason that stands beside it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SERVER = PROJECT / "towline" / "reconciler" / "server"
STORE = PROJECT / "towline" / "reconciler" / "store"

WHOLE_STORE = {"desk.py", "monitoring.py", "service.py"}
"""They recognise whoever asks, make the desks, and tell whether the store answers."""
SQL = {"health.py", "sessions.py"}
"""Devices' sessions at the start, and whether the store answers at all."""
OF_ALL = {
    "bound.py",
    "changed_devices.py",
    "condition_keys.py",
    "device_parts.py",
    "events.py",
    "reading_live.py",
    "repositories.py",
    "runs.py",
    "ties.py",
}
"""Statements that are meant to look at every organization: whether there is any activity at all,
which organizations are followed, the number and the time of the newest event, the number of the
newest device and of its newest change, what triggers wrote of parts of ids, and the guard's own
look."""
TYPES = {"Connection", "Row", "TimeoutError"}


def sources(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Each module of a folder and of those in it."""
    for file in sorted(folder.rglob("*.py")):
        yield file.name, ast.parse(file.read_text(encoding="utf-8"))


def takes_the_whole_store(tree: ast.AST) -> bool:
    """True for `desks.store` and `desks_of(…).store`."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "store"
        and "desks" in ast.unparse(node.value)
        and ".of(" not in ast.unparse(node.value)
        for node in ast.walk(tree)
    )


def makes_sql(tree: ast.AST) -> bool:
    """True when a module imports tables, or of SQLAlchemy more than types of what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            module = str(node.module)
            if module.split(".", maxsplit=1)[0] == "sqlalchemy" and not names <= TYPES:
                return True
            if "tables" in module.rsplit(".", maxsplit=1)[-1] or "tables" in names:
                return True
        elif isinstance(node, ast.Import) and any("sqlalchemy" in a.name for a in node.names):
            return True
    return False


def looks_at_all(tree: ast.AST) -> bool:
    """True when a module names the option."""
    return any(isinstance(node, ast.Name) and node.id == "OF_ALL" for node in ast.walk(tree))


def test_only_who_recognises_people_takes_the_whole_store() -> None:
    assert {name for name, tree in sources(SERVER) if takes_the_whole_store(tree)} <= WHOLE_STORE


def test_the_server_makes_no_statements_of_its_own() -> None:
    assert {name for name, tree in sources(SERVER) if makes_sql(tree)} <= SQL


def test_every_statement_that_looks_at_all_organizations_is_listed() -> None:
    found = {name for name, tree in sources(PROJECT / "towline") if looks_at_all(tree)}
    assert found == OF_ALL


@pytest.mark.parametrize(
    ("finds", "source"),
    [
        (takes_the_whole_store, "with desks.store.read() as c: ..."),
        (takes_the_whole_store, "x = desks_of(request).store"),
        (takes_the_whole_store, "x = request.app.state.desks.store"),
        (makes_sql, "from sqlalchemy import Connection, select"),
        (makes_sql, "from sqlalchemy.sql import text"),
        (makes_sql, "import sqlalchemy as sa"),
        (makes_sql, "from towline.reconciler.store import reading, tables as t"),
        (makes_sql, "from towline.reconciler.store.tables import runs"),
        (makes_sql, "from towline.reconciler.store.tables_fleet import runs"),
        (looks_at_all, "select(x).execution_options(**OF_ALL)"),
    ],
)
def test_what_goes_around_is_found(finds: object, source: str) -> None:
    assert callable(finds)
    assert finds(ast.parse(source))


def test_the_desks_own_store_is_no_way_around() -> None:
    for source in ("desks.of(name).store", "desk.store.read()"):
        assert not takes_the_whole_store(ast.parse(source))
