"""Bringing a store's schema up to date at start, after a copy of the SQLite file was kept."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from towline.schemas.problems import Problem

_HERE = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, path: Path | None) -> None:
    """Apply the migrations that the store lacks; raises Problem for a store of a newer Towline.

    `path` is the store's file, of which a copy is kept; None for a store in memory only.
    """
    scripts = ScriptDirectory(str(_HERE))
    newest = scripts.get_current_head()
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        return
    if current is not None:
        if current not in {script.revision for script in scripts.walk_revisions()}:
            raise Problem(
                f"{path or 'the store'} was written by a newer Towline (schema {current})",
                remedy="install that version, or restore the copy that it kept beside the file",
            )
        if path is not None:
            _keep_copy(path, current)
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _keep_copy(path: Path, revision: str) -> None:
    copy = path.with_name(f"{path.name}.before-{revision}")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
