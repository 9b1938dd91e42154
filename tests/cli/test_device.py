"""`towline device` and `towline join` against a real server."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.server import conftest as serving
from tests.server.conftest import Device, Running
from towline.cli import main
from towline.cli.exit_codes import ExitCode
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_keys import fingerprint
from towline.schemas.enrolment import JoinString
from towline.schemas.identifiers import device_uuid

store = serving.store
server = serving.server


@pytest.fixture(autouse=True)
def _at_the_server(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["admin"])


def test_a_device_waits_is_compared_admitted_and_revoked(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(server, "pi-0042")
    shown = fingerprint(device.key.public)
    device.enrol()
    assert main.run(["device", "list", "--pending"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert shown in told
    assert "a new device" in told
    approve = ["device", "approve", "pi-0042", "--fingerprint"]
    assert main.run([*approve, "0000-0000-0000-0000"]) == ExitCode.ERROR
    assert f"there is {shown}" in capsys.readouterr().err
    assert main.run([*approve, shown.upper(), "--reason", "seen"]) == ExitCode.OK
    assert device.open().status_code == 200
    assert main.run(["device", "revoke", "pi-0042", "--reason", "stolen"]) == ExitCode.OK
    assert device.open().status_code == 403
    follower = Device(server, "pi-0042")
    follower.enrol()
    capsys.readouterr()
    assert main.run(["device", "list", "--pending"]) == ExitCode.OK
    assert f"in the place of {shown} (revoked)" in capsys.readouterr().out
    deny = ["device", "deny", "pi-0042", "--fingerprint", fingerprint(follower.key.public)]
    assert main.run(deny) == ExitCode.OK
    assert main.run(deny) == ExitCode.ERROR
    capsys.readouterr()
    assert main.run(["device", "list", "-o", "name"]) == ExitCode.OK
    assert capsys.readouterr().out.split() == ["pi-0042"]


def test_a_join_line_is_made_for_as_long_and_as_many_as_is_said(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    join = ["join", "create", "--max-uses", "2", "--pending", "--expires", "10m"]
    assert main.run([*join, "--label", "line=7"]) == ExitCode.OK
    token = JoinString.parse(capsys.readouterr().out).token
    devices = [Device(server, f"pi-{number}").enrol(token).status_code for number in range(3)]
    assert devices == [202, 202, 403]
    with server.store.read() as connection:
        row = connection.execute(select(t.join_tokens)).one()
    assert (row.expires_at - row.created_at, row.labels) == (600, {"line": "7"})


def test_a_device_is_replaced_and_leaves(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    for slug in ("pi-1", "pi-2"):
        assert Device(server, slug).enrol(server.join_token()).status_code == 201
    assert main.run(["device", "replace", "pi-1", "pi-2", "--reason", "burnt"]) == ExitCode.OK
    assert "pi-2 takes the place of pi-1" in capsys.readouterr().out
    assert main.run(["device", "delete", "pi-2", "--reason", "sold"]) == ExitCode.OK
    assert main.run(["device", "delete", "pi-1", "--purge", "--reason", "sold"]) == ExitCode.OK
    uuid = str(device_uuid("acme", "pi-1"))
    assert f"pi-1 is purged; its UUID is {uuid}" in capsys.readouterr().out
    assert main.run(["device", "delete", "pi-1", "--reason", "again"]) == ExitCode.ERROR
    capsys.readouterr()
    assert main.run(["device", "list", "-o", "name"]) == ExitCode.OK
    assert capsys.readouterr().out.split() == []
    assert main.run(["audit", "list"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert uuid in told
    assert "pi-1" not in told
    assert main.run(["audit", "verify"]) == ExitCode.OK


def test_labels_are_given_and_taken_away(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(server, "pi-0042")
    device.enrol(server.join_token(labels={"site": "berlin"}))
    label = ["device", "label", "pi-0042"]
    assert main.run([*label, "env=prod", "model=b", "--reason", "moved"]) == ExitCode.OK
    assert capsys.readouterr().out == "env=prod, model=b, site=berlin\n"
    assert main.run([*label, "model-", "env=test"]) == ExitCode.OK
    assert capsys.readouterr().out == "env=test, site=berlin\n"
    assert main.run([*label, "model"]) == ExitCode.USAGE
    assert "'model' is no label" in capsys.readouterr().err
    assert main.run(["device", "label", "nobody", "a=b"]) == ExitCode.ERROR
    assert "there is no device nobody" in capsys.readouterr().err
