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
