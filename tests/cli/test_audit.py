"""`towline audit list` against a real server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server import conftest as serving
from tests.server.changing import ACTS, call, prepare
from tests.server.conftest import AddRun, Device, Running
from towline.cli import audit, main
from towline.cli.exit_codes import ExitCode

store, server, enrolled, add_run = (
    serving.store,
    serving.server,
    serving.enrolled,
    serving.add_run,
)


@pytest.fixture
def acted(
    server: Running,
    enrolled: Device,
    add_run: AddRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Running:
    """A server on which a run was paused and resumed, and could not be resumed again."""
    prepare(server, enrolled, add_run)
    for act in (*ACTS[:2], ACTS[1]):
        call(server, act)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["admin"])
    return server


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main.run(["audit", "list", "-o", "json", *options]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "ActList"
    items: list[dict[str, Any]] = document["items"]
    return items


def test_acts_are_listed_newest_first_with_why(
    acted: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["audit", "list"]) == ExitCode.OK
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows] == [
        "deployment.resume",
        "deployment.resume",
        "deployment.pause",
    ]
    assert [row[5] for row in rows] == ["refused", "done", "done"]
    assert rows[0][6].startswith("resume is not allowed")
    assert {row[1] for row in rows} == {"operator person"}
    assert rows[2][6] == "the pump team asked"


def test_options_narrow_the_list_and_pages_are_joined(
    acted: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = listed(capsys)
    monkeypatch.setattr(audit, "PAGE_SIZE", 2)
    assert listed(capsys) == every
    assert listed(capsys, "--limit", "1") == every[:1]
    assert listed(capsys, "--action", "deployment.pause") == every[2:]
    assert listed(capsys, "--deployment", "hello", "--since", "1h") == every
    assert listed(capsys, "--until", "1h") == []
    assert listed(capsys, "--person", "Bo") == []


def test_an_operator_does_not_read_the_audit(
    acted: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWLINE_TOKEN", acted.tokens["operator"])
    assert main.run(["audit", "list"]) == ExitCode.NOT_AUTHORISED
    assert "needs the role admin" in capsys.readouterr().err


def verdict(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main.run(["audit", "verify", "-o", "json", *options])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def tamper(server: Running, *statements: str) -> None:
    """As who owns the database can."""
    with server.store.write() as connection:
        for act in ("update", "delete", "insert"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS audit_keeps_on_{act}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_an_audit_that_nobody_touched_is_whole(
    acted: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["audit", "verify"]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "3 acts of acme, 1 to 3" in said
    head = said.split("head ")[1].strip()
    assert verdict(capsys, "--head", head[:12])[1]["isWhole"]
    shown = acted.client.get("/metrics", headers=acted.admin("viewer")).text
    told = next(line for line in shown.splitlines() if line.startswith("towline_audit_head "))
    assert float(told.split()[1]) == int(head[:13], 16)
    assert "towline_audit_acts 3.0" in shown


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET person = 'nobody' WHERE number = 2", "act 2 is not as it was written"),
        ("UPDATE audit SET detail = '{}' WHERE number = 1", "act 1 is not as it was written"),
        ("DELETE FROM audit WHERE number = 2", "between act 1 and act 3"),
        ("DELETE FROM audit WHERE number = 1", "begins with act 2"),
    ],
)
def test_what_was_changed_or_removed_is_found(
    acted: Running, capsys: pytest.CaptureFixture[str], statement: str, said: str
) -> None:
    tamper(acted, statement)
    code, found = verdict(capsys)
    assert (code, found["isWhole"]) == (ExitCode.ERROR, False)
    assert said in found["problem"]


def test_what_was_cut_off_is_found_by_a_hash_that_was_noted(
    acted: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    head = verdict(capsys)[1]["head"]
    tamper(acted, "DELETE FROM audit WHERE number = 3")
    assert verdict(capsys)[1]["isWhole"]
    code, found = verdict(capsys, "--head", head)
    assert (code, "cut off" in found["problem"]) == (ExitCode.ERROR, True)
