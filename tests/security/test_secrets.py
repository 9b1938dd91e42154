"""No secret is in a log or in the store, also where something fails while it is in hand."""

import secrets
import sys
from collections.abc import Callable, Iterator
from io import StringIO

import httpx
import pytest
import structlog

from tests.server.conftest import Device, Running
from tests.server.test_admin import API
from tests.server.visiting import Guest
from towline.reconciler.server import process

LONG = 16
"""Of so many bytes on it is a secret; what is shorter names a request or a process."""
TABLES = ("sessions", "admin_tokens", "join_tokens", "device_tokens", "audit")


@pytest.fixture
def minted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every secret that the server makes from now on."""
    made: list[str] = []

    def noted(real: Callable[[int], str]) -> Callable[[int], str]:
        def mint(length: int) -> str:
            found = real(length)
            made.extend([found] if length >= LONG else [])
            return found

        return mint

    for name in ("token_urlsafe", "token_hex"):
        monkeypatch.setattr(secrets, name, noted(getattr(secrets, name)))
    return made


class Terminal(StringIO):
    """Where more may be shown of an error than in a file."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """What the server logs on, set up as a server sets it up."""
    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        process._log_to_stderr()
    yield shown
    structlog.reset_defaults()


def life(server: Running, device: Device, join_token: str) -> list[int]:
    """Everything that brings or makes a secret, and the same with ones that are wrong."""

    def admin(method: str, path: str, **body: object) -> httpx.Response:
        headers = server.admin("admin")
        return server.client.request(method, f"{API}{path}", headers=headers, json=body)

    answers = [
        device.enrol(join_token),
        device.open(),
        device.poll(),
        device.report(device.facts()),
        admin("PUT", "/old-devices", allowed=True),
        admin("POST", "/devices/old-1/token", device_type="raspberry_pi"),
        admin("POST", "/devices/old-1/token/rotate"),
        admin("POST", "/tokens", name="Bo", role="viewer"),
        admin("POST", "/join-tokens", labels={"site": "oslo"}),
        admin("GET", "/audit"),
    ]
    wrong = secrets.token_hex(32)
    for scheme, path in (
        ("Bearer", f"{API}/devices"),
        ("Bearer", "/api/v1/ota/desired-state"),
        ("TargetToken", "/api/v1/ota/check-update?device_id=old-1"),
    ):
        headers = {"Authorization": f"{scheme} tow_1a2b3c4d5e6f_{wrong}"}
        answers.append(server.client.get(path, headers=headers))
    guest = Guest(server)
    form = guest.get("/sign-in").form("/sign-in")
    answers += [guest.send(form, token=wrong), guest.send(form, token=server.tokens["viewer"])]
    return [answer.status_code for answer in answers]


def test_secrets_are_nowhere_but_in_the_answers_that_bring_them(
    minted: list[str], terminal: Terminal, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = server.join_token(), server.join_token()
    assert life(server, Device(server), first) == [
        *(201, 200, 200, 204, 200, 201, 201, 201, 201, 200),
        *(401, 401, 401, 401, 303),
    ]
    with server.store.write() as connection:
        for table in TABLES:
            connection.exec_driver_sql(
                f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table}"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
    server.client.headers["Connection"] = "close"  # as it is after an error
    unlucky = Device(server, "pi-0002", token="none")
    assert life(server, unlucky, second).count(500) >= 4
    assert unlucky.open().json()["code"] == "internal", "in words that a device reads"
    with server.store.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        kept = "\n".join(driver.iterdump())
    logged = terminal.getvalue() + caplog.text
    assert "pi-0001" in kept
    assert "IntegrityError" in logged
    assert len(minted) >= 20
    for secret in (*minted, *server.tokens.values()):
        assert secret not in kept
        assert secret not in logged
