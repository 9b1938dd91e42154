"""The devices' protocol against a real TLS server."""

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select, update

from tests.server.conftest import AddRun, Device, Running, add_batch, add_target, wall
from towline.manifests.model import DeviceEntry
from towline.reconciler.server.inlet import FETCHED_S
from towline.reconciler.store import device_keys
from towline.reconciler.store import tables as t
from towline.schemas import desired_state, envelope, times
from towline.schemas.verifier import Clock, DeviceIdentity, TrustState, verify


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the problem's code."""
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def device_seq(server: Running, slug: str = "pi-0001") -> int:
    """The number of a device."""
    with server.store.read() as connection:
        seq: int = connection.execute(
            select(t.edge_devices.c.seq).where(t.edge_devices.c.slug == slug)
        ).scalar_one()
    return seq


def revoke(server: Running) -> None:
    """As another server or a commit does it."""
    with server.store.write() as connection:
        device_keys.revoke(connection, "acme", device_seq(server), wall())


def test_a_device_enrols_polls_and_reports(server: Running) -> None:
    device = Device(server)
    answer = device.enrol(server.join_token(labels={"site": "berlin"}))
    assert (answer.status_code, answer.json()) == (
        201,
        {"status": "accepted", "device": "pi-0001", "organization": "acme"},
    )
    session = device.open()
    assert session.json()["expiresIn"] == 3600
    assert abs(times.from_rfc3339(session.json()["time"]) - wall()) < 60
    document = device.poll()
    assert document.status_code == 200
    assert device.poll(document.headers["etag"]).status_code == 304
    assert device.report(device.facts()).status_code == 204
    with server.store.read() as connection:
        facts = connection.execute(select(t.device_state.c.facts)).scalar_one()
        labels = connection.execute(select(t.edge_devices.c.labels_join)).scalar_one()
    assert facts == {"kernel": "6.1"}
    assert labels == {"site": "berlin"}


def test_the_served_document_is_believed_by_a_device(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run()
    add_batch(server, run)
    add_target(server, run, device_seq(server))
    answer = enrolled.poll(sequence=wall() * 1000 + 60_000)
    accepted = verify(
        answer.content,
        root=server.root,
        identity=DeviceIdentity("acme", "pi-0001", enrolled.key.public.keyid, "raspberry_pi"),
        trust=TrustState(),
        nonce="A" * 22,
        clock=Clock(wall(), is_synchronised=True),
    )
    (component,) = accepted.document.components
    assert component.action is desired_state.ComponentAction.INSTALL
    assert component.urls == (f"{server.url}/packages/hello.tar.gz",)
    assert accepted.document.sequence > wall() * 1000 + 59_000


def test_serving_a_grant_starts_the_clock_of_its_target(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run()
    add_target(server, run, device_seq(server))
    assert enrolled.poll().status_code == 200
    row = None
    for _ in range(500):
        with server.store.read() as connection:
            row = connection.execute(select(t.targets)).one()
        if row.fetched_at is not None:
            break
        time.sleep(FETCHED_S / 10)
    assert row is not None and row.fetched_at is not None
    assert row.deadline == row.fetched_at + 3600


def test_a_parked_poll_wakes_when_its_device_is_rung_for(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    etag = enrolled.poll().headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(enrolled.poll, etag, 60)
        while not server.doorbell.parked:
            threading.Event().wait(0.01)
        add_target(server, add_run(), device_seq(server))
        server.doorbell.ring({device_seq(server)})
        answer = parked.result()
    assert answer.status_code == 200
    payload = desired_state.parse_payload(envelope.parse(answer.content).payload)
    assert [component.name for component in payload.components] == ["hello"]


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_device_whose_poll_is_parked_for_long_is_seen_all_the_while(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    etag = enrolled.poll().headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(enrolled.poll, etag, 10)
        while not server.doorbell.parked:
            threading.Event().wait(0.01)
        parked_at, seen = wall(), 0
        while seen <= parked_at and not parked.done():
            threading.Event().wait(0.05)
            with server.store.read() as connection:
                seen = connection.execute(select(t.device_state.c.last_seen)).scalar_one() or 0
        assert not parked.done()
        add_target(server, add_run(), device_seq(server))
        server.doorbell.ring({device_seq(server)})
        assert parked.result().status_code == 200


def test_an_unchanged_poll_touches_no_database(server: Running, enrolled: Device) -> None:
    etag = enrolled.poll().headers["etag"]
    server.store.engine.dispose()
    before = server.store.engine.pool.status()
    assert enrolled.poll(etag).status_code == 304
    assert server.store.engine.pool.status() == before


def test_a_used_join_token_is_refused(server: Running) -> None:
    token = server.join_token()
    assert Device(server).enrol(token).status_code == 201
    assert code_of(Device(server, "pi-0002").enrol(token)) == (403, "join-token")


def test_an_expired_join_token_is_refused(server: Running) -> None:
    token = server.join_token()
    with server.store.write() as connection:
        connection.execute(update(t.join_tokens).values(expires_at=wall() - 1))
    assert code_of(Device(server).enrol(token)) == (403, "join-token")


def test_enrolling_again_with_the_same_key_needs_no_token(
    server: Running, enrolled: Device
) -> None:
    assert enrolled.enrol().status_code == 201


def test_a_taken_id_is_never_overwritten_and_costs_no_token(
    server: Running, enrolled: Device
) -> None:
    token = server.join_token()
    answer = Device(server, enrolled.id).enrol(token)
    assert (answer.status_code, answer.json()["keyChange"]) == (202, True)
    assert enrolled.open().status_code == 200
    assert Device(server, "pi-0002").enrol(token).status_code == 201


def test_without_a_token_a_device_waits_for_approval(server: Running) -> None:
    device = Device(server)
    answer = device.enrol()
    assert answer.status_code == 202
    assert answer.json()["fingerprint"].replace("-", "") == device.key.public.keyid[:16]
    assert code_of(device.open()) == (401, "unknown-device")


def test_a_key_in_git_admits_without_a_token(server: Running) -> None:
    device = Device(server)
    server.devices["pi-0001"] = DeviceEntry(
        "pi-0001", "devices/pi-0001.yaml", (("site", "rome"),), device.key.public.text()
    )
    assert device.enrol().status_code == 201
    assert code_of(Device(server).enrol(server.join_token())) == (409, "id-taken")


def test_a_revoked_device_gets_no_session(server: Running, enrolled: Device) -> None:
    revoke(server)
    assert code_of(enrolled.open()) == (403, "revoked")
    assert code_of(enrolled.enrol()) == (403, "revoked")


def test_a_parked_poll_of_a_device_that_is_revoked_gets_no_document(
    server: Running, enrolled: Device
) -> None:
    etag = enrolled.poll().headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(enrolled.poll, etag, 60)
        while not server.doorbell.parked:
            threading.Event().wait(0.01)
        revoke(server)
        # Whatever is written next ends its session: here its own last report.
        enrolled.report(enrolled.facts())
        assert parked.result().status_code == 401
    assert enrolled.report(enrolled.facts()).status_code == 401


def test_a_new_session_ends_the_former_one(server: Running, enrolled: Device) -> None:
    former = enrolled.token
    assert enrolled.open().status_code == 200
    enrolled.token, newer = former, enrolled.token
    assert code_of(enrolled.poll()) == (401, "session")
    enrolled.token = newer
    assert enrolled.poll().status_code == 200


def test_a_session_nonce_works_once(server: Running, enrolled: Device) -> None:
    request = enrolled.session_request(nonce="once")
    assert enrolled.open(request).status_code == 200
    assert code_of(enrolled.open(request)) == (401, "nonce-reused")


def test_a_clock_that_is_off_is_told_the_time(server: Running, enrolled: Device) -> None:
    answer = enrolled.open(enrolled.session_request(issued_at=wall() - 3600))
    assert code_of(answer) == (401, "clock")
    assert abs(times.from_rfc3339(answer.json()["time"]) - wall()) < 60


def test_a_session_signed_by_another_key_is_refused(server: Running, enrolled: Device) -> None:
    sealed = enrolled.session_request().sign(Device(server).key)
    answer = server.client.post("/api/v1/ota/session", content=sealed.to_bytes())
    assert code_of(answer) == (401, "threshold")


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/api/v1/ota/enroll", 64 * 1024), ("/api/v1/admin/ota/join-tokens", 1024 * 1024)],
)
def test_a_body_is_counted_while_it_arrives(server: Running, path: str, limit: int) -> None:
    context = ssl.create_default_context(cafile=str(server.packages.parent / "data" / "tls.crt"))
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * (limit + 1))
        # The rest of the announced body never comes: the answer does not wait for it.
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_just_over_the_limit_is_413(server: Running) -> None:
    answer = server.client.post("/api/v1/ota/enroll", content=b"x" * (64 * 1024 + 1))
    assert code_of(answer) == (413, "too-large")


@pytest.mark.parametrize("slug", ["../etc", "A", "a" * 64, "a/b", "ü", ""])
def test_an_id_outside_the_grammar_is_refused(server: Running, slug: str) -> None:
    device = Device(server, slug)
    assert code_of(device.enrol(server.join_token())) == (400, "bad-field")
    assert code_of(device.open()) == (400, "bad-field")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"payloadType": 1, "payload": "", "signatures": []}']
)
def test_malformed_requests_are_400(server: Running, enrolled: Device, body: bytes) -> None:
    for call in ("enroll", "session", "reports"):
        answer = server.client.post(
            f"/api/v1/ota/{call}",
            content=body,
            headers={"Authorization": f"Bearer {enrolled.token}"} if call == "reports" else {},
        )
        if not (call == "reports" and body == b"[]"):
            assert answer.status_code == 400, call


def test_an_old_report_is_acknowledged_and_dropped(server: Running, enrolled: Device) -> None:
    first = enrolled.facts()
    assert enrolled.report(first, enrolled.facts(facts={"kernel": "7"})).status_code == 204
    assert enrolled.report(first).status_code == 204
    with server.store.read() as connection:
        state = connection.execute(select(t.device_state)).one()
    assert (state.facts, state.report_seq) == ({"kernel": "7"}, 2)


def test_calls_without_a_session_are_401(server: Running) -> None:
    device = Device(server, token="guess")
    assert code_of(device.poll()) == (401, "session")
    assert code_of(device.report(device.facts())) == (401, "session")


def test_roots_are_served_as_they_are_signed(server: Running) -> None:
    assert server.client.get("/api/v1/ota/root/1").content == server.root_bytes
    for number in ("2", "0", "-1", "01", "1/..", "x", "1x", "1%0a"):
        assert server.client.get(f"/api/v1/ota/root/{number}").status_code == 404
