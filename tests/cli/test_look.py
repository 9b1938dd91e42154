"""`get`, `describe` and `explain` against a real server."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.server import conftest as serving
from tests.server.conftest import NOW, ORGANIZATION, AddRun, Device, Running, add_batch, add_target
from tests.server.test_device import device_seq
from towline.cli import main
from towline.cli.exit_codes import ExitCode
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record

store = serving.store
server = serving.server
enrolled = serving.enrolled
add_run = serving.add_run


@pytest.fixture(autouse=True)
def _is_viewer(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["viewer"])


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that succeeds; returns what it printed."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main.run(arguments) == ExitCode.OK
        return capsys.readouterr().out

    return run


def add_events(server: Running, *kinds: str, at: int = NOW) -> None:
    with server.store.write() as connection:
        for kind in kinds:
            event = Event(kind, deployment="hello", device="pi-1" if "device" in kind else None)
            record(connection, ORGANIZATION, at, event)


def test_events_show_what_matters_and_all_on_demand(server: Running, printed: Any) -> None:
    add_events(server, "run.started", "device.installing", "device.failed", "changed.run")
    lines = printed("get", "events", "hello").splitlines()
    assert [line.split("\t")[3] for line in lines] == ["run.started", "device.failed"]
    assert len(printed("get", "events", "--all").splitlines()) == 4
    of_device = printed("get", "events", "--device", "pi-1").splitlines()
    assert [line.split("\t")[3] for line in of_device] == ["device.installing", "device.failed"]


def test_a_slip_in_a_name_is_no_empty_list(
    server: Running,
    enrolled: Device,
    add_run: AddRun,
    printed: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_run()
    for asked in (
        ("devices", "--device", "pi-9"),
        ("devices", "helo"),
        ("events", "--device", "pi-9"),
        ("events", "helo"),
        ("deployments", "helo"),
    ):
        capsys.readouterr()
        assert main.run(("get", *asked)) == ExitCode.ERROR
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(("error: there is no device pi-9", "error: there is no deploy"))
        assert "→ `towline get" in said.err
    assert printed("get", "events", "hello") == printed("get", "devices", "hello") == ""
    assert printed("get", "devices", "--device", "pi-0001").startswith("pi-0001\t")


def test_repeats_are_one_line_with_a_count(server: Running, printed: Any) -> None:
    for n in range(3):
        add_events(server, "run.held", at=NOW + n)
    (line,) = printed("get", "events").splitlines()
    assert line.split("\t")[:3] == ["2026-09-21T14:13:20Z", "3", "2026-09-21T14:13:22Z"]
    (item,) = json.loads(printed("get", "events", "-o", "json"))["items"]
    assert item["count"] == 3
    assert printed("get", "events", "--since", "1s") == ""


def test_batches_of_one_deployment_say_what_they_wait_for(
    server: Running, enrolled: Device, add_run: AddRun, printed: Any
) -> None:
    run = add_run(reason="RollingOut", message="batch 1 of 1")
    add_batch(server, run)
    times = {"granted_at": NOW, "verified_at": NOW + 42}
    add_target(server, run, device_seq(server), status="completed", **times)
    add_run("other")
    assert printed("get", "batches", "hello") == (
        "hello\t1.0.0\tbatch-1\topen\t1\t1 completed\tthe verdicts of its devices\n"
    )
    (item,) = json.loads(printed("get", "batches", "hello", "-o", "json"))["items"]
    assert item["medianSeconds"] == 42
    assert len(json.loads(printed("get", "deployments", "hello", "-o", "json"))["items"]) == 1


def test_describe_says_who_clears_a_hold_and_who_is_silent(
    server: Running, enrolled: Device, add_run: AddRun, printed: Any
) -> None:
    run = add_run(status="paused")
    add_batch(server, run)
    add_target(server, run, device_seq(server), status="installing", attempt=2, arm="a")
    with server.store.write() as connection:
        connection.execute(
            insert(t.holds),
            {
                "organization": ORGANIZATION,
                "deployment": "hello",
                "run_seq": run,
                "reason": "DeadlineExceeded",
                "message": "no verdict for too long",
                "author": "towline",
                "since": NOW,
            },
        )
        connection.execute(update(t.device_state).values(last_seen=serving.wall() - 3 * 3600))
    said = printed("describe", "deployment", "hello")
    assert said.startswith("hello 1.0.0  ‖ paused\n  health    paused\n")
    assert "cleared by: resume" in said
    assert "silent    pi-0001: silent for 3 h, last: installing 1.0.0, attempt 2" in said
    assert [line.split() for line in said.splitlines() if "installing  " in line] == [
        ["installing", "1"]
    ]


def test_explain_takes_either_and_asks_when_it_is_both(
    server: Running, enrolled: Device, add_run: AddRun, printed: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    add_run()
    assert printed("explain", "pi-0001").startswith("pi-0001: last seen")
    assert printed("explain", "hello").startswith("hello 1.0.0: in_progress")
    assert json.loads(printed("explain", "hello", "-o", "json"))["deployment"] == "hello"
    add_run("pi-0001")
    assert main.run(["explain", "pi-0001"]) == ExitCode.ERROR
    assert "--device or --deployment" in capsys.readouterr().err
    assert printed("explain", "pi-0001", "--deployment").startswith("pi-0001 1.0.0")
    assert main.run(["explain", "ghost"]) == ExitCode.ERROR
    assert "neither a device nor a Deployment ghost" in capsys.readouterr().err
