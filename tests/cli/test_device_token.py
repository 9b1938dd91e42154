"""`towline device token` against a real server."""

from pathlib import Path

import pytest

from tests.server import conftest as serving
from tests.server.conftest import Running
from towline.cli import main
from towline.cli.exit_codes import ExitCode

store = serving.store
server = serving.server


def test_the_life_of_an_old_devices_token(
    server: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", server.url)
    monkeypatch.setenv("TOWLINE_CA", str(tmp_path / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", server.tokens["admin"])

    def check(token: str) -> int:
        headers = {"Authorization": f"TargetToken {token.strip()}"}
        query = {"device_id": "pi-0042"}
        return server.client.get(
            "/api/v1/ota/check-update", params=query, headers=headers
        ).status_code

    create = ["device", "token", "create", "pi-0042"]
    assert main.run(create) == ExitCode.ERROR
    assert "(--type) puts it into the inventory" in capsys.readouterr().err
    assert main.run([*create, "--type", "camera", "--label", "stage=lab"]) == ExitCode.OK
    first = capsys.readouterr().out
    assert check(first) == 403
    assert main.run(["device", "token", "allow", "--reason", "the old ones"]) == ExitCode.OK
    assert "1 have a token" in capsys.readouterr().out
    assert check(first) == 200
    assert main.run(["device", "token", "rotate", "pi-0042"]) == ExitCode.OK
    second = capsys.readouterr().out
    assert (check(first), check(second)) == (401, 200)
    assert main.run(["device", "token", "forbid", "--reason", "no more"]) == ExitCode.OK
    assert check(second) == 403
    assert main.run(["device", "token", "revoke", "pi-0042", "--reason", "gone"]) == ExitCode.OK
    assert check(second) == 401
