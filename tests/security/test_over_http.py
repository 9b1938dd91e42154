"""Attacks on the server: names that are paths, forged requests, floods."""

import base64
import dataclasses
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import func, select

from tests.server.conftest import Device, Running, wall
from towline.reconciler.server import wire
from towline.reconciler.store import tables as t
from towline.schemas.enrolment import SessionRequest
from towline.schemas.envelope import Envelope
from towline.schemas.keys import PrivateKey

NAMES = (
    "../..",
    "a/b",
    "dev1\n",
    "\0",
    "a" * 300,
    "\uff44ev\uff11",
    "Dev",
    "",
    "dev 1",
    "dev1\r\nX: y",
)
"""None of them is an id; `con` and `nul` are, for no id becomes the name of a file."""
SESSION = "/api/v1/ota/session"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_row_29_a_name_that_is_no_id_is_refused_before_any_look_up(server: Running) -> None:
    server.store.engine.dispose()
    before = server.store.engine.pool.status()
    for name in NAMES:
        device = Device(server, name)
        assert code_of(device.enrol()) == (400, "bad-field"), name
        assert code_of(device.open()) == (400, "bad-field"), name
    assert server.store.engine.pool.status() == before


@pytest.mark.parametrize("path", ["devices/{}", "deployments/{}"])
def test_row_29_for_people_such_a_name_is_of_nothing(server: Running, path: str) -> None:
    for name in filter(None, NAMES):
        asked = f"/api/v1/admin/ota/{path.format(quote(name, safe=''))}"
        answer = server.client.get(asked, headers=server.admin("viewer"))
        assert answer.status_code in (400, 404, 405, 422), (name, answer.text)
        assert "x" not in answer.headers


def test_row_30_a_nonce_is_22_characters_and_a_sequence_a_whole_number(
    server: Running, enrolled: Device
) -> None:
    good = {b"Authorization": f"Bearer {enrolled.token}".encode()}
    good |= {b"Towline-Nonce": b"A" * 22, b"Towline-Sequence": b"0"}

    def asked(**changes: str) -> int:
        sent = {name.replace("_", "-").encode(): value.encode() for name, value in changes.items()}
        try:
            return server.client.get("/api/v1/ota/desired-state", headers=good | sent).status_code
        except httpx.ProtocolError:
            return 400  # no header can hold it

    assert asked() == 200
    for nonce in ("A" * 21, "A" * 21 + "\n", "A" * 21 + "\0", "A" * 23, "\uff21" * 22, ""):
        assert asked(Towline_Nonce=nonce) == 400, nonce
    for sequence in ("-1", "1.0", "1e3", "\u0663", "1" * 17, "", "+1", "1\0"):
        assert asked(Towline_Sequence=sequence) == 400, sequence


def _unsigned(sealed: Envelope) -> bytes:
    return dataclasses.replace(sealed, signatures=(), keyids=()).to_bytes()


def _of_another_body(sealed: Envelope) -> bytes:
    changed = sealed.payload.replace(b'"lastSequence":0', b'"lastSequence":9')
    return dataclasses.replace(sealed, payload=changed).to_bytes()


def _as_an_enrolment(sealed: Envelope) -> bytes:
    kind = "application/vnd.towline.enrolment.v1+json"
    return dataclasses.replace(sealed, payload_type=kind).to_bytes()


FORGERIES: list[tuple[Callable[[Envelope], bytes], tuple[int, str]]] = [
    (_unsigned, (400, "sig-count")),
    (_of_another_body, (401, "threshold")),
    (_as_an_enrolment, (401, "payload-type")),
]


def test_row_32_a_session_that_the_device_did_not_sign_is_not_opened(
    server: Running, enrolled: Device
) -> None:
    for forge, expected in FORGERIES:
        body = forge(enrolled.session_request().sign(enrolled.key))
        assert code_of(server.client.post(SESSION, content=body)) == expected, forge


def test_row_32_a_captured_session_request_buys_nothing(server: Running, enrolled: Device) -> None:
    old = enrolled.session_request(issued_at=wall() - 301).sign(enrolled.key).to_bytes()
    assert code_of(server.client.post(SESSION, content=old)) == (401, "clock")
    body = enrolled.session_request().sign(enrolled.key).to_bytes()
    assert server.client.post(SESSION, content=body).status_code == 200
    assert code_of(server.client.post(SESSION, content=body)) == (401, "nonce-reused")
    elsewhere = server.client.post("/api/v1/ota/enroll", content=body)
    assert code_of(elsewhere) == (400, "version")


def test_row_32_a_key_speaks_for_its_own_device_only(server: Running, enrolled: Device) -> None:
    other = Device(server, "pi-0002")
    assert other.enrol(server.join_token()).status_code == 201
    claim = enrolled.session_request()
    for request in (claim, dataclasses.replace(claim, keyid=other.key.public.keyid)):
        body = request.sign(other.key).to_bytes()
        assert server.client.post(SESSION, content=body).status_code == 401


def test_row_32_no_token_is_kept_that_could_be_used(server: Running, enrolled: Device) -> None:
    with server.store.read() as connection:
        (kept,) = connection.execute(select(t.sessions.c.digest)).scalars()
    assert enrolled.token not in kept
    enrolled.token = kept
    assert enrolled.poll().status_code == 401


def test_row_32_a_signature_of_garbage_is_none(server: Running, enrolled: Device) -> None:
    request: SessionRequest = enrolled.session_request()
    sealed = request.sign(PrivateKey.generate()).document()
    for garbage in (b"", b"x", b"x" * 64, b"x" * 65):
        sealed["signatures"][0]["sig"] = base64.b64encode(garbage).decode()
        answer = server.client.post(SESSION, json=sealed)
        assert code_of(answer) == (401, "threshold")


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


FLOODED = (
    ("/api/v1/ota/reports", 64 * 1024),
    ("/api/v1/ota/session", 64 * 1024),
    ("/api/v1/admin/ota/deployments", 1024 * 1024),
    ("/admin/edge/ota/sign-in", 1024 * 1024),
)


def test_row_36_a_flood_of_chunks_is_413_and_takes_no_memory(server: Running) -> None:
    context = ssl.create_default_context(cafile=str(server.packages.parent / "data" / "tls.crt"))
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    piece = b"10000\r\n" + b"[{},{},{}," * 6553 + b"[{},{}" + b"\r\n"
    before = _resident_mib()
    for path, limit in FLOODED:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        with (
            socket.create_connection(address, timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(head.encode())
            sent = 0
            while sent <= limit + len(piece):
                connection.sendall(piece)
                sent += len(piece)
            # Nobody waits for the end of it.
            assert connection.recv(4096).startswith(b"HTTP/1.1 413 "), path
    assert _resident_mib() - before < 30


def test_row_36_many_bodies_that_stay_on_their_way_take_no_more_memory_than_there_is(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ARRIVING_LIMIT", 100_000)
    context = ssl.create_default_context(cafile=str(server.packages.parent / "data" / "tls.crt"))
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    head = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"
    with ExitStack() as held:
        begun = []
        for path in ("/admin/edge/ota/sign-in", SESSION):
            plain = held.enter_context(socket.create_connection(address, timeout=30))
            connection = context.wrap_socket(plain, server_hostname="localhost")
            begun.append(held.enter_context(connection))
            connection.sendall(head.format(path).encode() + b"x" * 59_000)
            until(lambda: wire.arriving.size == 59_000)
        assert begun[-1].recv(4096).startswith(b"HTTP/1.1 503 ")
        assert enrolled.open().status_code == 200, "there is room for what is small"
    until(lambda: wire.arriving.size == 0)
    body = "token=" + "x" * 95_000
    assert server.client.post("/admin/edge/ota/sign-in", content=body).status_code == 403


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_row_36_nothing_of_a_flood_is_kept(server: Running, enrolled: Device) -> None:
    many = [enrolled.facts() for _ in range(65)]
    assert code_of(enrolled.report(*many)) == (400, "too-many-reports")
    with server.store.read() as connection:
        kept = connection.execute(select(func.max(t.device_state.c.report_seq))).scalar_one()
    assert kept == 0
