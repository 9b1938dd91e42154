"""A real Postgres for tests: a database for each test, thrown away after it.

The server is that of TEST_DATABASE_URL, else the installed binaries, run in a temporary folder and
under a user of their own, else the `pgserver` wheel. TOWLINE_POSTGRES=required makes it a failure
when there is none of them.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from towline.reconciler.store.engine import open_store

MISSING = (
    "no Postgres to test with: set TEST_DATABASE_URL=postgresql://…, or install the server"
    " (apt-get install postgresql), or pip install pgserver"
)
_START_S = 30
_CARELESS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}
"""What is written here is never read after a power cut, and nobody else connects."""


class Databases:
    """Makes databases on one server: empty ones, and copies of a store that was migrated once."""

    def __init__(self, server: str) -> None:
        """`server`: the URL of a database there, from which others are made."""
        self._server = server
        self._prefix = f"towline_test_{os.getpid()}"
        self._numbers = count()
        self._migrated: str | None = None

    def empty(self) -> str:
        """The URL of a new database without a table."""
        return self._create("")

    def fresh(self) -> str:
        """The URL of a new store of today's schema."""
        if self._migrated is None:
            made = self.empty()
            open_store(made).close()
            self._migrated = make_url(made).database
        return self._create(f'TEMPLATE "{self._migrated}"')

    def copy(self, of: URL) -> str:
        """The URL of a new database that holds what another does; nobody may be connected to it."""
        return self._create(f'TEMPLATE "{of.database}"')

    def shut(self, of: URL) -> None:
        """Let a database go away: whoever is connected is cut off, and nobody gets in."""
        self._run(f'ALTER DATABASE "{of.database}" ALLOW_CONNECTIONS false')
        self._cut_off(of)

    def let_write(self, of: URL, *, is_let: bool) -> None:
        """Whether who connects from now on may write: not to one that stands by for another."""
        is_only = "off" if is_let else "on"
        self._run(f'ALTER DATABASE "{of.database}" SET default_transaction_read_only = {is_only}')
        self._cut_off(of)

    def _cut_off(self, of: URL) -> None:
        self._run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608 our own name
            f" WHERE datname = '{of.database}'"
        )

    def open(self, of: URL) -> None:
        """Let it be there again."""
        self._run(f'ALTER DATABASE "{of.database}" ALLOW_CONNECTIONS true')

    def setting(self, name: str) -> str:
        """What the server goes by, whoever set it; as `SHOW` tells it."""
        import psycopg  # noqa: PLC0415 not everybody has it

        with psycopg.connect(self._server, autocommit=True) as connection:
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])

    def drop_all(self) -> None:
        """Remove them all, whoever is still connected."""
        for number in range(next(self._numbers)):
            self._run(f'DROP DATABASE IF EXISTS "{self._prefix}_{number}" WITH (FORCE)')

    def _create(self, how: str) -> str:
        name = f"{self._prefix}_{next(self._numbers)}"
        self._run(f'CREATE DATABASE "{name}" {how}')
        return make_url(self._server).set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 not everybody has it

        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def databases(**settings: str) -> Iterator[Databases]:
    """The databases of this process; skips, or fails where Postgres is required.

    `settings` are for a server that is started for them.
    """
    with _server(settings) as server:
        made = Databases(server)
        try:
            yield made
        finally:
            made.drop_all()


@contextmanager
def _server(settings: Mapping[str, str]) -> Iterator[str]:
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    if (binaries := _binaries()) is not None:
        with tempfile.TemporaryDirectory(prefix="towline-pg-") as folder:
            yield from _run_server(binaries, Path(folder), settings)
        return
    try:
        import pgserver  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        if os.environ.get("TOWLINE_POSTGRES") == "required":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="towline-pg-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()  # of itself it ends later than its folder


def version() -> str | None:
    """Which Postgres tests have: that of TEST_DATABASE_URL, else of the binaries; None: neither."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return Databases(given).setting("server_version")
    if (binaries := _binaries()) is None:
        return None
    told = subprocess.run([binaries / "postgres", "-V"], check=True, capture_output=True, text=True)
    return told.stdout.rpartition(" (PostgreSQL) ")[2].strip()


def _binaries() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them out of PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_major)
    return debian[-1].parent if debian else None


def _major(initdb: Path) -> int:
    return int(initdb.parents[1].name)


def _run_server(binaries: Path, folder: Path, own: Mapping[str, str]) -> Iterator[str]:
    """Run a server in the folder, on a socket there."""
    as_user = _under_own_user(folder)
    data = folder / "data"
    how = ["--username=towline", "--auth=trust", "--encoding=UTF8", "--no-sync"]
    subprocess.run(
        [*as_user, binaries / "initdb", f"--pgdata={data}", *how, *_language(binaries)],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    all_settings = {**_CARELESS, **own}
    settings = [part for name, value in all_settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", data, "-k", folder, *settings],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    url = f"postgresql://towline@/postgres?host={folder}"
    try:
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        process.send_signal(3)  # the quickest end
        process.wait()


def _language(binaries: Path) -> list[str]:
    """A database that orders text as people of a country do: the store must not let it."""
    offered = subprocess.run([binaries / "initdb", "--help"], check=True, capture_output=True)
    if b"--icu-locale" not in offered.stdout:
        return ["--locale=C.UTF-8"]
    return ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]


def _under_own_user(folder: Path) -> list[str]:
    """What a command begins with: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = next(name for name in ("postgres", "nobody") if _has_user(name))
    shutil.chown(folder, user)
    # It ends with these tests, however they end.
    return ["setpriv", f"--reuid={user}", "--clear-groups", "--pdeathsig=QUIT", "--"]


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    import psycopg  # noqa: PLC0415

    until = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"Postgres did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        else:
            return
