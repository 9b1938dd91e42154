"""`towline token` against a real server."""

import json
from pathlib import Path

import pytest

from tests.server import conftest as serving
from tests.server.conftest import Running
from towline.cli import main
from towline.cli.exit_codes import ExitCode

store = serving.store
server = serving.server


@pytest.fixture(autouse=True)
def _is_admin(server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["admin"])


def test_a_created_token_is_alone_on_stdout_and_opens_the_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ["token", "create", "ci", "--role", "viewer", "--expires", "30d"]
    assert main.run(create) == ExitCode.OK
    token = capsys.readouterr().out.removesuffix("\n")
    assert token.startswith("tow_")
    assert "\n" not in token
    monkeypatch.setenv("TOWLINE_TOKEN", token)
    assert main.run(["get", "devices"]) == ExitCode.OK
    assert main.run(["token", "list"]) == ExitCode.NOT_AUTHORISED
    assert "needs the role admin" in capsys.readouterr().err


def test_a_token_may_be_limited_to_some_devices(
    server: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = ["--label", "site=berlin", "--label", "env=prod"]
    assert main.run(["token", "create", "x", "--role", "admin", *limited]) == ExitCode.ERROR
    assert "whole fleet" in capsys.readouterr().err
    assert main.run(["token", "create", "x", "--role", "operator", *limited]) == ExitCode.OK
    token = capsys.readouterr().out.strip()
    listed = server.client.get("/api/v1/admin/ota/tokens", headers=server.admin()).json()["tokens"]
    assert [each["labels"] for each in listed if each["labels"]] == [
        {"env": "prod", "site": "berlin"}
    ]
    monkeypatch.setenv("TOWLINE_TOKEN", token)
    assert main.run(["get", "devices"]) == ExitCode.OK
    assert main.run(["get", "deployments"]) == ExitCode.NOT_AUTHORISED
    assert "beyond the devices with env=prod, site=berlin" in capsys.readouterr().err


def test_a_list_shows_all_but_the_secret(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["token", "list", "-o", "json"]) == ExitCode.OK
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert document["kind"] == "TokenList"
    assert {item["role"] for item in document["items"]} == set(server.tokens)
    assert not any(token.split("_")[2] in printed for token in server.tokens.values())
    assert main.run(["token", "list"]) == ExitCode.OK
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {7}


def test_a_token_is_revoked_once(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    revoke = ["token", "revoke", server.tokens["viewer"].split("_")[1], "--reason", "left"]
    assert main.run(revoke) == ExitCode.OK
    assert "(viewer person) is revoked" in capsys.readouterr().out
    assert main.run(revoke) == ExitCode.ERROR
    assert "was revoked at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("which", "words"), [("nothing", "there is no token nothing"), ("", "last live admin token")]
)
def test_what_cannot_be_revoked_is_said(
    server: Running, capsys: pytest.CaptureFixture[str], which: str, words: str
) -> None:
    token_id = which or server.tokens["admin"].split("_")[1]
    assert main.run(["token", "revoke", token_id, "--reason", "x"]) == ExitCode.ERROR
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create", "ci", "--role", "viewer", "--expires", "soon"], ExitCode.USAGE, "no duration"),
        (["create", "ci", "--role", "root"], ExitCode.USAGE, "--role"),
        (["create", "ci"], ExitCode.USAGE, "--role"),
        (["revoke", "abc"], ExitCode.USAGE, "--reason"),
    ],
)
def test_a_wrong_line_is_refused_before_any_call(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, words: str
) -> None:
    assert main.run(["token", *arguments]) == code
    assert words in capsys.readouterr().err
