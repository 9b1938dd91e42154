"""Opening a store: migrations that fail, the copy before one, the order of text, turns to write."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import inspect, make_url, select, text

from tests.postgres import Databases
from tests.reconciler.simulation import Simulation
from tests.stores import open_quickly, place_of
from towline.reconciler.store import apart, migrate, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store
from towline.schemas.problems import Problem

both_engines = pytest.mark.both_engines

MIGRATION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "9998", {newest!r}
branch_labels = depends_on = None

def upgrade():
    op.create_table("half_made", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("UPDATE repositories SET branch = 'lost'")
    op.execute({last!r})
    if {fails}:
        raise RuntimeError("in the middle")
"""


def scripts_with(folder: Path, last: str, *, fails: bool = False) -> Path:
    """The migrations, and one more that ends with the statement `last`, or fails after it."""
    scripts = folder / "migrations"
    shutil.copytree(migrate.SCRIPTS, scripts)
    newest = max(file.name[:4] for file in (scripts / "versions").glob("0*.py"))
    more = MIGRATION.format(newest=newest, last=last, fails=fails)
    (scripts / "versions" / "9998_more.py").write_text(more, encoding="utf-8")
    return scripts


def file_of(place: Path | str) -> Path | None:
    return place if isinstance(place, Path) else None


@both_engines
@pytest.mark.parametrize(
    ("last", "fails"),
    [
        pytest.param("SELECT nothing FROM nowhere", False, id="a statement fails"),
        pytest.param("DELETE FROM edge_devices", False, id="rows would lose what they refer to"),
        pytest.param("DELETE FROM device_state", True, id="it raises in the middle"),
    ],
)
def test_a_migration_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, last: str, fails: bool
) -> None:
    store = Simulation(tmp_path, devices=1).store
    place = place_of(tmp_path / "towline.db")
    with pytest.raises(Problem, match="migration") as caught:
        migrate.upgrade(store.engine, file_of(place), scripts_with(tmp_path, last, fails=fails))
    assert "nothing was changed" in caught.value.remedy
    copies = list(tmp_path.glob("towline.db.before-*"))
    assert len(copies) == isinstance(place, Path)
    assert all(f"{copy} is a copy from before" in caught.value.remedy for copy in copies)
    for each in (place, *copies):
        former_version_reads(each)


def former_version_reads(place: Path | str) -> None:
    """As Towline did before the migration that failed."""
    with open_store(place).write() as connection:
        assert connection.execute(select(t.repositories.c.branch)).scalar_one() == "main"
        assert connection.execute(select(t.device_state.c.device_seq)).scalar_one() == 1
        assert not inspect(connection).has_table("half_made")
        if isinstance(place, Path):
            assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


@both_engines
def test_a_store_of_a_newer_towline_is_refused(tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(Problem, match="newer Towline"):
        open_store(place_of(tmp_path / "towline.db"))


def test_of_a_file_a_copy_is_kept_before_it_is_migrated(tmp_path: Path) -> None:
    store = Simulation(tmp_path, devices=1).store
    path = tmp_path / "towline.db"
    migrate.upgrade(store.engine, path, scripts_with(tmp_path, "DELETE FROM device_state"))
    store.close()
    (copy,) = tmp_path.glob("towline.db.before-*")
    rows = {}
    for each in (path, copy):
        with closing(sqlite3.connect(each)) as connection:
            rows[each] = connection.execute("SELECT count(*) FROM device_state").fetchone()[0]
    assert rows == {path: 0, copy: 1}


def test_a_file_without_room_for_its_copy_is_not_migrated(tmp_path: Path) -> None:
    store = Simulation(tmp_path, devices=1).store
    path = tmp_path / "towline.db"
    with store.read() as connection:
        before = migrate.revision_of(connection)
    (tmp_path / f"towline.db.before-{before}").mkdir()
    with pytest.raises(Problem, match=r"its copy .* cannot be written"):
        migrate.upgrade(store.engine, path, scripts_with(tmp_path, "SELECT 1"))
    with store.read() as connection:
        assert migrate.revision_of(connection) == before


def test_two_servers_that_start_at_once_migrate_a_database_once(databases: Databases) -> None:
    url, failed = databases.empty(), []

    def start() -> None:
        try:
            open_store(url).close()
        except Exception as error:  # noqa: BLE001 told below
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_text_is_in_the_order_of_its_bytes_in_a_database_of_any_language(
    databases: Databases,
) -> None:
    store = open_store(databases.fresh())
    with store.read() as connection:
        in_metadata = {
            (table.name, column.name)
            for table in t.metadata.tables.values()
            for column in table.columns
            if getattr(column.type.dialect_impl(connection.dialect), "collation", None) == "C"
        }
        in_database = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns c"
                " JOIN information_schema.tables USING (table_schema, table_name)"
                " WHERE collation_name = 'C' AND table_type = 'BASE TABLE'"
                " AND table_schema = 'public'"
            )
        )
        assert {tuple(row) for row in in_database} == in_metadata
    store.close()


@pytest.mark.parametrize("may_extend", [True, False])
def test_ids_are_indexed_by_their_parts_where_the_owner_may_extend_the_database(
    databases: Databases, may_extend: bool
) -> None:
    url = databases.empty()
    with psycopg.connect(url, autocommit=True) as connection:
        user = sql.Identifier(name := f"plain_{make_url(url).database}")
        database = sql.Identifier(str(make_url(url).database))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(user))
        offered = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'"
        is_offered = connection.execute(offered).fetchone() == (1,)
        if may_extend:
            connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, user))
    plain = make_url(url).set(username=name).render_as_string(hide_password=False)
    store = open_store(plain)
    names = {each["name"] for each in inspect(store.engine).get_indexes("edge_devices")}
    assert ("ix_edge_devices_slug_parts" in names) is (may_extend and is_offered)
    store.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(user))
        connection.execute(sql.SQL("DROP ROLE {}").format(user))


@both_engines
def test_writers_of_two_processes_take_turns_and_see_what_came_before(tmp_path: Path) -> None:
    Simulation(tmp_path, devices=0)
    stores = [open_quickly(tmp_path / "towline.db") for _ in range(2)]

    def count_up(store: Store) -> None:
        for _ in range(20):
            with store.write() as connection:
                seen = connection.execute(select(t.repositories.c.last_fetch_at)).scalar_one() or 0
                connection.execute(t.repositories.update().values(last_fetch_at=seen + 1))

    threads = [threading.Thread(target=count_up, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stores[0].read() as connection:
        assert connection.execute(select(t.repositories.c.last_fetch_at)).scalar_one() == 40


@both_engines
def test_a_reader_sees_one_moment_and_waits_for_no_writer(tmp_path: Path) -> None:
    store = Simulation(tmp_path, devices=0).store
    branch = select(t.repositories.c.branch)
    with store.read() as reading:
        assert reading.execute(branch).scalar_one() == "main"
        with store.write() as writing:
            writing.execute(t.repositories.update().values(branch="next"))
            assert reading.execute(branch).scalar_one() == "main"
        assert reading.execute(branch).scalar_one() == "main"
    with store.read() as reading:
        assert reading.execute(branch).scalar_one() == "next"


@both_engines
def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    with pytest.raises(RuntimeError), store.write() as connection:
        repositories.ensure(connection, "acme", "fleet", "main", "", 0)
        raise RuntimeError
    with store.read() as connection:
        assert connection.execute(select(t.repositories)).all() == []


def test_a_database_that_was_restarted_is_no_error(databases: Databases) -> None:
    store = open_store(databases.fresh())
    with store.write() as connection:
        repositories.ensure(connection, "acme", "fleet", "main", "", 0)
    with store.read() as ended:
        own: Any = ended.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = open_store(
        store.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    )
    with other.read() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": own})
    with store.read() as connection:
        assert connection.execute(select(t.repositories.c.branch)).scalar_one() == "main"
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql:///nowhere?host=/nonexistent", "cannot be used"),
        ("mysql://h/d", "no URL of a Postgres"),
    ],
)
def test_a_database_that_is_not_there_is_a_problem(url: str, what: str) -> None:
    with pytest.raises(Problem, match=what):
        open_store(url)


def test_a_problem_tells_no_password() -> None:
    with pytest.raises(Problem) as caught:
        open_store("postgresql://u:s3cret@/nowhere?host=/nonexistent")
    assert "s3cret" not in f"{caught.value} {caught.value.remedy}"


def test_each_migration_is_known_by_its_files_name() -> None:
    directory = ScriptDirectory(str(migrate.SCRIPTS))
    scripts = list(directory.walk_revisions())
    assert all(Path(script.path).name.startswith(f"{script.revision}_") for script in scripts)
    assert directory.get_current_head() == max(script.revision for script in scripts)


ALONE = """
import sqlite3, sys
from pathlib import Path
from towline.reconciler.store.apart import open_migrated
from towline.schemas.problems import Problem

file = Path(sys.argv[1])
open_migrated(file).close()
print("alembic" in sys.modules)
with sqlite3.connect(file) as connection:
    connection.execute("UPDATE alembic_version SET version_num = '0001'")
try:
    open_migrated(file)
except Problem as problem:
    print(problem.what)
"""


def test_what_migrating_loads_ends_with_its_process_but_what_fails_there_is_told(
    tmp_path: Path,
) -> None:
    command = (sys.executable, "-c", ALONE, str(tmp_path / "towline.db"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    is_loaded, failed = done.stdout.splitlines()
    assert is_loaded == "False"
    assert "from schema 0001 failed" in failed


def test_among_threads_no_process_is_made_to_migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "get_context", lambda _: pytest.fail("a process was made"))
    end = threading.Event()
    threading.Thread(target=end.wait, daemon=True).start()
    apart.open_migrated(tmp_path / "towline.db").close()
    end.set()
