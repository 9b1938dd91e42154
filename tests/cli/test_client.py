"""Finding the server and its token, and what a person hears when there is none."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from towline.cli import client, main, settings
from towline.cli.client import Client, connect
from towline.cli.exit_codes import ExitCode, NotAuthorised
from towline.reconciler.server import tls
from towline.schemas.problems import Problem


def test_outside_a_fleet_repository_nothing_names_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match="nothing here names a server") as problem:
        connect()
    assert "TOWLINE_SERVER" in problem.value.remedy


def test_before_the_first_serve_the_remedy_is_to_serve(fleet: Path) -> None:
    with pytest.raises(Problem, match="no server has run here yet") as problem:
        connect(settings.load(fleet, environment={}))
    assert "towline serve" in problem.value.remedy


def test_without_a_token_one_is_not_authorised(tmp_path: Path) -> None:
    environment = {"TOWLINE_SERVER": "https://fleet.example.com"}
    with pytest.raises(NotAuthorised, match="there is no token"):
        connect(settings.load(tmp_path, environment=environment))


def test_the_environment_names_another_server(tmp_path: Path) -> None:
    environment = {"TOWLINE_SERVER": "https://fleet.example.com/", "TOWLINE_TOKEN": "secret"}
    assert connect(settings.load(tmp_path, environment=environment)).server == (
        "https://fleet.example.com"
    )


@pytest.mark.parametrize(
    ("listen", "server"),
    [
        ("127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("0.0.0.0:9443", "https://127.0.0.1:9443"),
        ("192.0.2.7:8443", "https://192.0.2.7:8443"),
    ],
)
def test_beside_the_server_its_own_files_are_enough(fleet: Path, listen: str, server: str) -> None:
    data = fleet / ".towline" / "data"
    data.mkdir(parents=True)
    (data / "admin.token").write_text("secret\n", encoding="ascii")
    (data / "tls.crt").touch()
    found = settings.load(fleet, environment={"TOWLINE_LISTEN": listen})
    assert connect(found).server == server


@pytest.mark.parametrize(
    ("server", "is_own"),
    [
        ("https://127.0.0.1:8443", True),
        ("https://localhost:8443/", True),
        ("https://192.0.2.7:8443", True),
        ("https://[::1]:8443", True),
        ("https://127.0.0.1:9443", False),
        ("https://192.0.2.8:8443", False),
        ("https://fleet.example.com", False),
        ("https://localhost:none", False),
    ],
)
def test_an_address_of_the_folders_own_server_is_vouched_for_by_its_own_certificate(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, server: str, is_own: bool
) -> None:
    data = fleet / ".towline" / "data"
    data.mkdir(parents=True)
    made = tls.ensure(data, ["192.0.2.7"])
    environment = {"TOWLINE_SERVER": server, "TOWLINE_TOKEN": "secret"}
    found = settings.load(fleet, environment=environment)
    vouching: list[Path | None] = []
    monkeypatch.setattr(client, "Client", lambda _server, _token, ca: vouching.append(ca))
    connect(found)
    connect(replace(found, ca=Path("another.crt")))
    connect(replace(found, tls_cert=Path("given.crt")))
    assert vouching == [made.certificate if is_own else None, Path("another.crt"), None]


def test_a_data_folder_of_another_user_is_no_bug(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(Problem, match=r"tls\.crt cannot be read: Permission denied") as problem:
        connect(replace(settings.Settings("acme"), data=fleet / "data"))
    assert "TOWLINE_CA" in problem.value.remedy
    with pytest.raises(NotAuthorised, match="Permission denied"):
        connect(replace(settings.Settings("acme"), data=fleet / "data", tls_cert=fleet / "own.crt"))
    elsewhere = settings.Settings("acme", server="https://127.0.0.1:8443", token="secret")
    assert connect(replace(elsewhere, data=fleet / "data")).server == "https://127.0.0.1:8443"


def test_a_server_that_does_not_answer_is_said_with_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Problem, match=f"no server answers at https://127.0.0.1:{port}") as problem:
        Client(f"https://127.0.0.1:{port}", "secret", None).get("/devices")
    assert "towline serve" in problem.value.remedy


def test_a_label_without_a_value_is_refused_before_any_call(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(fleet)
    assert main.run(["join", "create", "--label", "region"]) == ExitCode.USAGE
    assert "write --label KEY=VALUE" in capsys.readouterr().err


def test_a_verb_needs_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["pause", "hello"]) == ExitCode.USAGE
    assert "--reason" in capsys.readouterr().err
