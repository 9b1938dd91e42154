"""A SQLite store that cannot be written for a while: a full disk, a lock of another process.

Devices are asked to come again, nothing acknowledged is lost, the server and its loop go on by
themselves, and whoever runs it reads what is wrong, where, and what to do.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.reconciler.simulation import ORGANIZATION, POLL_S
from tests.reconciler.test_follow import Fleet, app
from tests.server.conftest import NOW, Device, Running
from tests.server.test_serve import serving, settings
from tests.stores import open_fresh
from towline.manifests.repository import Repository
from towline.reconciler import loop
from towline.reconciler.leadership import Leadership
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.server.serve import ServeSettings, serve
from towline.reconciler.store import repositories, runs, sqlite_file
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.schemas.problems import Problem

__all__ = ["settings"]  # a fixture
DISK_KB = 2048
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process writes to the file and does not end; yields its pid."""
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.stdin.close()


class SmallDisk:
    """The disk that the store is on: a small file system, or who may not mount limits its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)]
        self.is_mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False).returncode
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def full(self, store: Store) -> Iterator[str]:
        """Within the block there is no room, not even in the log of writes; yields what is told."""
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        path = self.folder / "towline.db"
        if not self.is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, self._limits[1]))
            try:
                yield f"the store {path} cannot be used: disk I/O error"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
            return
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)) == 4096:
                pass
        try:
            yield f"the disk is full: nothing can be written to the store {path}"
        finally:
            ballast.unlink()

    def end(self) -> None:
        """Take it away."""
        if self.is_mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "data")
    yield made
    made.end()


@pytest.fixture
def store(tmp_path: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """As for every server's test, on that disk, and with little patience for locks."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 100)
    opened = open_fresh(disk.folder / "towline.db")
    with opened.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", NOW)
    yield opened
    opened.close()


def full(disk: SmallDisk, store: Store) -> AbstractContextManager[str]:
    return disk.full(store)


@contextmanager
def locked(_disk: SmallDisk, store: Store) -> Iterator[str]:
    path = Path(str(store.engine.url.database))
    with held(path) as pid:
        yield f"the store {path} is locked: pid {pid} ("


Trouble = Callable[[SmallDisk, Store], AbstractContextManager[str]]
troubles = pytest.mark.parametrize("trouble", [full, locked])


@troubles
def test_a_report_is_acknowledged_only_when_it_is_kept_and_is_taken_in_afterwards(
    trouble: Trouble, disk: SmallDisk, server: Running, enrolled: Device
) -> None:
    acknowledged = enrolled.facts(facts={"kernel": "6.1"})
    assert enrolled.report(acknowledged).status_code == 204
    with trouble(disk, server.store) as words, capture_logs() as logs:
        said = enrolled.facts(facts={"kernel": "6.2"})
        answer = enrolled.report(said)
        assert (answer.status_code, answer.json()["code"]) == (503, "store")
        assert int(answer.headers["retry-after"]) > 0
        told = [each for each in logs if each["event"] == "inlet.store-away"]
        assert told and told[0]["error"].startswith(words), logs
        assert told[0]["remedy"].endswith("the server goes on by itself")
        assert kept_report(server.store) == acknowledged
    assert enrolled.report(said).status_code == 204
    assert kept_report(server.store) == said


@troubles
def test_a_session_that_cannot_be_kept_leaves_the_device_its_former_one(
    trouble: Trouble, disk: SmallDisk, server: Running, enrolled: Device
) -> None:
    etag = enrolled.poll().headers["etag"]
    with trouble(disk, server.store):
        assert enrolled.open().status_code == 503
        assert enrolled.poll(etag).status_code == 304
    assert enrolled.poll(etag).status_code == 304
    assert enrolled.open().status_code == 200


def kept_report(store: Store) -> dict[str, Any]:
    """The parts of the last report that the store has."""
    columns = (t.device_state.c.report_seq, t.device_state.c.facts, t.device_state.c.journal)
    with store.read() as connection:
        number, facts, journal = connection.execute(select(*columns)).one()
    return {
        "journal": journal,
        "reportSeq": number,
        "lastSequence": 0,
        "facts": facts,
        "versions": {},
    }


@troubles
def test_the_loop_goes_on_by_itself(
    trouble: Trouble,
    disk: SmallDisk,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "AWAY_REST_S", 0.1)
    fleet = Fleet(tmp_path, store)
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    leadership = Leadership(store)
    reconciler = Reconciler(store, Repository(fleet.folder), settings, leadership=leadership)

    def version() -> str | None:
        with store.read() as connection:
            run = runs.newest_run(connection, ORGANIZATION, "app")
            return run.target_version if run else None

    fleet.commit(app=app("1.0.0"))
    try:
        with trouble(disk, store):
            leadership.start()
            reconciler.start(fleet.folder)
            assert leadership.epoch is None
        once(lambda: version() == "1.0.0")
        with trouble(disk, store) as words, capture_logs() as logs:
            fleet.commit(app=app("2.0.0"))
            once(lambda: any(each["event"] == "pass.store-away" for each in logs))
            told = next(each for each in logs if each["event"] == "pass.store-away")
            assert told["error"].startswith(words)
            assert told["remedy"].endswith("the server goes on by itself")
            assert version() == "1.0.0"
        once(lambda: version() == "2.0.0")
    finally:
        reconciler.stop()
        leadership.stop()


def once(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_start_on_a_file_that_is_locked_says_by_whom(
    settings: ServeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 100)
    settings.data.mkdir()
    path = settings.data / "towline.db"
    open_fresh(path).close()
    with held(path) as pid:
        with pytest.raises(Problem, match=rf"{path} is locked: pid {pid} \(.*python") as caught:
            serve(settings, lambda _: None)
        assert caught.value.remedy == "wait until it ends, or end it"
    with serving(settings):
        """It is free again."""


def test_a_start_on_a_file_that_is_no_store_says_so(settings: ServeSettings) -> None:
    settings.data.mkdir()
    (settings.data / "towline.db").write_bytes(b"none of SQLite's" * 100)
    with pytest.raises(Problem, match=r"towline\.db cannot be used: file is not a database"):
        serve(settings, lambda _: None)
