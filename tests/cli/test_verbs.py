"""The verbs of `towline` against a real server."""

from pathlib import Path

import pytest
from sqlalchemy import insert, select

from tests.server import conftest as serving
from tests.server.conftest import NOW, AddRun, Device, Running, add_target, run_values
from tests.server.test_device import device_seq
from towline.cli import main
from towline.cli.exit_codes import ExitCode
from towline.reconciler.store import tables as t

store = serving.store
server = serving.server
enrolled = serving.enrolled
add_run = serving.add_run
WHY = ("--reason", "because")


@pytest.fixture(autouse=True)
def _is_operator(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["operator"])


def hold(server: Running, run: int, deployment: str, reason: str) -> None:
    with server.store.write() as connection:
        values = {"organization": "acme", "deployment": deployment, "run_seq": run, "message": ""}
        connection.execute(
            insert(t.holds), values | {"reason": reason, "author": "towline", "since": NOW}
        )


def test_a_pause_says_who_paused_and_why_and_what_it_did(
    server: Running, enrolled: Device, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    add_target(server, add_run(), device_seq(server))
    assert main.run(["pause", "hello", "--for", "10m", *WHY]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        "hello 1.0.0: ‖ paused PausedByUser operator person: because",
        "  1 device gives its grant back",
    ]
    with server.store.read() as connection:
        row = connection.execute(select(t.holds)).one()
    assert row.until - row.since == 600


def test_pausing_all_says_what_it_did_for_each(
    server: Running, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("till", "hello"):
        add_run(name)
    add_run("done", status="completed")
    assert main.run(["pause", "--all", *WHY]) == ExitCode.OK
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "paused" in line] == [
        "hello 1.0.0: ‖ paused PausedByUser operator person: because",
        "till 1.0.0: ‖ paused PausedByUser operator person: because",
    ]
    assert "done" not in said
    assert main.run(["pause", "--all", *WHY]) == ExitCode.OK
    assert "hello 1.0.0: is paused already" in capsys.readouterr().out


def test_pausing_all_lays_a_pause_beside_the_hold_that_stands(
    server: Running, add_run: AddRun
) -> None:
    hold(server, add_run("gated", status="paused"), "gated", "ThresholdNotMet")
    assert main.run(["pause", "--all", *WHY]) == ExitCode.OK
    with server.store.read() as connection:
        reasons = set(connection.execute(select(t.holds.c.reason)).scalars())
    assert reasons == {"ThresholdNotMet", "PausedByUser"}


def test_pausing_all_goes_on_after_a_failure_and_ends_with_1(
    server: Running, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a-broken", "hello"):
        add_run(name)
    with server.store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER breaks BEFORE INSERT ON holds WHEN NEW.deployment = 'a-broken'"
            " BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
    assert main.run(["pause", "--all", *WHY]) == ExitCode.ERROR
    said = capsys.readouterr()
    assert "a-broken 1.0.0: not paused: the server failed at request" in said.err
    assert "hello 1.0.0: ‖ paused" in said.out


def test_pausing_all_without_the_role_is_not_authorised(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run()
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["viewer"])
    assert main.run(["pause", "--all", *WHY]) == ExitCode.NOT_AUTHORISED


@pytest.mark.parametrize("arguments", [["pause"], ["pause", "hello", "--all"]])
def test_a_pause_of_nothing_or_of_one_and_all_is_a_usage_error(arguments: list[str]) -> None:
    assert main.run([*arguments, *WHY]) == ExitCode.USAGE


def test_a_rollback_counts_who_goes_back(
    server: Running, enrolled: Device, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    add_target(server, add_run(), device_seq(server), status="completed", from_sha256="aa" * 32)
    assert main.run(["rollback", "hello", *WHY]) == ExitCode.OK
    assert "1 device goes back" in capsys.readouterr().out


def test_one_device_goes_back_and_the_way_forward_is_said(
    server: Running, enrolled: Device, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_values(server, "hello")["offer"] | {"sha256": "aa" * 32}
    add_run(turn=0, status="completed", target_version="0.9.0", offer=before)
    came = {"from_version": "0.9.0", "from_sha256": "aa" * 32}
    add_target(server, add_run(), device_seq(server), status="completed", **came)
    assert main.run(["rollback", "hello", "--device", "pi-0001", *WHY]) == ExitCode.OK
    assert "towline retry hello --device pi-0001" in capsys.readouterr().out
    assert main.run(["rollback", "hello", "--device", "../x", *WHY]) == ExitCode.ERROR
    assert "is no id" in capsys.readouterr().err


def test_what_is_not_allowed_is_said_with_what_is(
    server: Running, add_run: AddRun, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run()
    assert main.run(["resume", "hello", *WHY]) == ExitCode.ERROR
    assert "allowed: pause, cancel, approve, rollback" in capsys.readouterr().err
    assert main.run(["approve", "hello", "--through-windows", *WHY]) == ExitCode.ERROR
    assert "only a return" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["start", "resume", "approve", "cancel", "retry", "rollback"])
def test_every_verb_wants_a_reason(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([verb, "hello"]) == ExitCode.USAGE
    assert "--reason" in capsys.readouterr().err
