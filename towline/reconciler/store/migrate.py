"""Bringing a store's schema up to date at start: all or nothing.

The migrations run in one transaction, which a failure rolls back. Of a SQLite file a copy is kept
before; on Postgres one process migrates and the others wait for it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, column, inspect, select, table
from sqlalchemy.exc import DBAPIError

from towline.reconciler.store import owner_only, postgres
from towline.schemas.problems import Problem

SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, path: Path | None, scripts: Path = SCRIPTS) -> None:
    """Apply the migrations that the store lacks; raises Problem, with the store as it was.

    `path` is the SQLite file, of which a copy is kept; None for a database or a store in memory.
    """
    with engine.connect() as connection:
        before = revision_of(connection)
    if is_newest(before, path, scripts):
        return
    copy = None if path is None or before is None else _keep_copy(path, before)
    with _alone(engine) as connection:
        try:
            apply(connection, "head", scripts)
            _check_references(connection)
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            kept = f"; {copy} is a copy from before" if copy else ""
            raise Problem(
                f"the migration of {path or postgres.shown(engine.url)} from schema"
                f" {before or 'none'} failed: {str(cause).strip() or repr(cause)}",
                remedy="nothing was changed: mend the cause and start again, or go on with the"
                f" Towline that ran before{kept}",
            ) from error


def revision_of(connection: Connection) -> str | None:
    """The schema that the store has; None for an empty one."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    return revision


_VERSION = table("alembic_version", column("version_num"))
"""Where Alembic keeps it."""


def is_newest(revision: str | None, path: Path | None, scripts: Path = SCRIPTS) -> bool:
    """Whether nothing is to be migrated; raises Problem for a schema that is not known here."""
    # A script's file begins with its revision. To load all of them, and Alembic, at each start
    # takes a third of a second and seven megabytes.
    known = {file.name[:4] for file in (scripts / "versions").glob("[0-9]*.py")}
    if revision is not None and revision not in known:
        raise Problem(
            f"{path or 'the database'} was written by a newer Towline (schema {revision})",
            remedy="install that version, or restore "
            + ("the copy that it kept beside the file" if path else "a backup from before"),
        )
    return revision == max(known)


def apply(connection: Connection, to: str, scripts: Path = SCRIPTS) -> None:
    """The migrations up to `to`, in the connection's transaction."""
    from alembic import command  # noqa: PLC0415 only when there is something to migrate
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction in which nobody else writes, committed at the end of the block."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # However long it takes, and however long another one is at it.
            postgres.begin_writing(connection, is_patient=True)
            yield connection
            connection.commit()
        else:
            with _without_references(connection):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()


@contextmanager
def _without_references(connection: Connection) -> Iterator[None]:
    """A table that SQLite makes anew is dropped meanwhile: what refers to it is checked after."""
    former = connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"PRAGMA foreign_keys={former}")


class _Orphaned(Exception):
    """Rows would be left without what they refer to: an error of the migration."""


def _check_references(connection: Connection) -> None:
    """Of SQLite, where nothing watched over them meanwhile."""
    if connection.dialect.name == "postgresql":
        return
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if orphans:
        tables = ", ".join(sorted({f"{each.table} (to {each.parent})" for each in orphans}))
        raise _Orphaned(f"{len(orphans)} rows would be without what they refer to: {tables}")


def _keep_copy(path: Path, revision: str) -> Path:
    copy = path.with_name(f"{path.name}.before-{revision}")
    owner_only.make_file(copy)
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise Problem(
            f"{path} is to be migrated, and its copy {copy} cannot be written: {error}",
            remedy="make room there; nothing was changed",
        ) from None
    return copy
