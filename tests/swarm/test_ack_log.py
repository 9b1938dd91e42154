"""The log of acknowledged reports, and the search for them in a store."""

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from tests.postgres import Databases
from tests.stores import open_fresh, place_of
from towline.cli.main import run
from towline.cli.swarm_check import checked
from towline.reconciler.store import enrolling, join_tokens
from towline.reconciler.store import tables as t
from towline.reconciler.store.join_tokens import JoinTerms
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.identifiers import organization_uuid
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.swarm.ack_log import AckLog, read

RUN = "6f0f1c1e-6b8a-5d0c-9f5e-3f3b7a3f2d11"


def report(number: int, state: str | None = None, journal: str = "j") -> dict[str, Any]:
    deployment = RUN if state else None
    attempt = 1 if state else None
    ids = {"journal": journal, "reportSeq": number, "deployment": deployment, "attempt": attempt}
    return ids | {"state": state, "facts": {}}


def written(path: Path, *reports: dict[str, Any], device: str = "d1") -> Path:
    async def write() -> None:
        log = AckLog(path)
        for each in reports:
            log.note("acme", device, [each])
            await asyncio.sleep(0)
        await log.close()

    asyncio.run(write())
    return path


def stored(folder: Path, report_seq: int, *kinds: str) -> Path | str:
    """Where a store is that took in `d1`'s reports up to that number, with such events."""
    file = folder / "towline.db"
    store = open_fresh(file)
    request = EnrolmentRequest("acme", "d1", PrivateKey.generate().public, "generic", "1")
    with store.write() as connection:
        connection.execute(
            insert(t.organizations).values(id=organization_uuid("acme"), name="acme", created_at=1)
        )
        token = join_tokens.create(connection, "acme", JoinTerms(), author="t", now=1)
        enrolling.enrol(connection, request, git=None, join_token=token, source="", now=1)
        values = {"journal": "j", "report_seq": report_seq}
        connection.execute(update(t.device_state).values(**values))
        for kind in kinds:
            told = {"kind": kind, "device": "d1", "run": UUID(RUN), "organization": "acme"}
            connection.execute(insert(t.events).values(at=1, cause="", data={}, **told))
    store.close()
    return place_of(file)


def test_every_report_is_a_line_and_several_logs_append_to_one_file(tmp_path: Path) -> None:
    path = written(tmp_path / "log", report(1), report(2, "installing"))
    written(path, report(7), device="d2")
    assert [(each.device, each.report_seq, each.state) for each in read(path)] == [
        ("d1", 1, None),
        ("d1", 2, "installing"),
        ("d2", 7, None),
    ]


def test_a_line_cut_short_by_a_stop_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "log", report(1))
    path.write_bytes(path.read_bytes() + b'{"organization": "ac')
    assert [each.report_seq for each in read(path)] == [1]


def test_what_the_system_takes_only_in_part_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    path = written(tmp_path / "log", report(1), report(2))
    assert [each.report_seq for each in read(path)] == [1, 2]


def test_a_disk_that_is_full_is_told_at_once(tmp_path: Path) -> None:
    async def write() -> None:
        log = AckLog(Path("/dev/full"))
        log.note("acme", "d1", [report(1)])
        await log.watch(30)

    with pytest.raises(Problem, match="/dev/full cannot be written: No space left") as problem:
        asyncio.run(asyncio.wait_for(write(), 10))
    assert "make room" in problem.value.remedy


def test_a_last_line_that_finds_no_room_is_told_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="No space left"):
        written(Path("/dev/full"), report(1))


def test_no_half_line_is_left_of_what_found_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "log", report(1))
    write, room = os.write, 20

    def write_until_full(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(file, data[:room])
        room -= taken
        return taken

    with monkeypatch.context() as patch, pytest.raises(Problem, match="No space left"):
        patch.setattr(os, "write", write_until_full)
        written(path, report(2))
    written(path, report(3))
    assert [each.report_seq for each in read(path)] == [1, 3]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"device": "d1"}'])
def test_another_file_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "log", report(1))
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(Problem, match=r"log:2 is no line"):
        list(read(path))


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("reports", "missing"),
    [
        ([report(1), report(2)], []),
        ([report(2), report(3)], ["d1 j 3"]),
        ([report(1, journal="another")], ["d1 another 1"]),
    ],
)
def test_a_report_above_the_highest_number_or_of_another_journal_is_missing(
    tmp_path: Path, reports: list[dict[str, Any]], missing: list[str]
) -> None:
    log = written(tmp_path / "log", *reports)
    assert list(checked(log, stored(tmp_path, 2)).missing) == missing


@pytest.mark.both_engines
def test_a_step_without_an_event_is_told_apart(tmp_path: Path) -> None:
    log = written(tmp_path / "log", report(1, "installing"), report(2, "completed"))
    found = checked(log, stored(tmp_path, 2, "device.installing"))
    assert (found.missing, found.untold) == ((), ("d1 j 2",))


@pytest.mark.both_engines
def test_the_command_fails_when_one_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = written(tmp_path / "log", report(1), report(3))
    place = stored(tmp_path, 2)
    ask = ["swarm", "--check-ack-log", str(log), "--store", str(place)]
    assert run([*ask, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {"acknowledged": 2, "missing": ["d1 j 3"], "untold": []}
    log.write_text(log.read_text().splitlines()[0] + "\n")
    assert run(ask) == 0
    assert capsys.readouterr().out == "1 acknowledged reports, 0 missing\n"


def test_a_log_without_a_line_proves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = written(tmp_path / "log")
    ask = ["swarm", "--check-ack-log", str(log), "--store", str(stored(tmp_path, 2))]
    for text in ("", '{"organization": "ac'):
        log.write_text(text)
        assert run([*ask, "--json"]) == 1
        said = capsys.readouterr()
        assert json.loads(said.out) == {"acknowledged": 0, "missing": [], "untold": []}
        assert f"no line stands in {log}: nothing was acknowledged" in said.err


@pytest.mark.both_engines
def test_without_a_store_it_looks_into_that_of_the_folders_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = written(tmp_path / "log", report(3))
    place = stored(tmp_path / "data", 2)
    setting = "data = 'data'" if isinstance(place, Path) else f"store = '{place}'"
    (tmp_path / "towline.toml").write_text(f"organization = 'acme'\n{setting}\n")
    monkeypatch.chdir(tmp_path)
    assert run(["swarm", "--check-ack-log", str(log)]) == 1
    assert "1 acknowledged reports, 1 missing\n  d1 j 3\n" in capsys.readouterr().out


def test_a_database_is_not_changed_by_the_search(tmp_path: Path, databases: Databases) -> None:
    log = written(tmp_path / "log", report(1))
    with pytest.raises(Problem, match="has schema none"):
        checked(log, databases.empty())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://towline:secret@nowhere.example/towline",
        "postgresql://towline:secret@nowhere.example",
        "postgresql+psycopg://towline:secret@nowhere.example/towline",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    log = written(tmp_path / "log", report(1))
    assert run(["swarm", "--check-ack-log", str(log), "--store", url]) == 1
    told = capsys.readouterr()
    assert "postgresql://" in told.err or "TOWLINE_STORE" in told.err
    assert "secret" not in told.out + told.err


def test_the_password_of_the_settings_is_not_told_when_the_database_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = written(tmp_path / "log", report(1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_STORE", "postgresql://towline:secret@127.0.0.1:1/towline")
    assert run(["swarm", "--check-ack-log", str(log)]) == 1
    told = capsys.readouterr()
    assert "postgresql://towline:***@127.0.0.1:1/towline cannot be used" in told.err
    assert "secret" not in told.out + told.err


def test_a_store_without_a_log_to_look_for_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["swarm", "--store", "towline.db"]) == 64
    assert "--check-ack-log" in capsys.readouterr().err
