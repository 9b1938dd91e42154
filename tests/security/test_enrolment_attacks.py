"""Row 33 of the attack table, and what else somebody may try to become a device of the fleet."""

import dataclasses
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select, update

from tests.server import conftest as serving
from tests.server.conftest import ORGANIZATION, Device, Running, wall
from towline.manifests.model import DeviceEntry
from towline.reconciler.store import access, enrolling, join_tokens
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.enrolling import PENDING_LIFE_S, PENDING_LIMIT, PENDING_PER_SOURCE
from towline.reconciler.store.join_tokens import JoinTerms
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.problems import Refused

store = serving.store
server = serving.server
enrolled = serving.enrolled


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def key_of(server: Running, slug: str = "pi-0001") -> str | None:
    """The key that the server knows."""
    with server.store.read() as connection:
        found: str | None = connection.execute(
            select(t.edge_devices.c.public_key).where(t.edge_devices.c.slug == slug)
        ).scalar_one()
    return found


def test_whoever_enrols_under_a_taken_id_only_asks_for_a_change_of_its_key(
    server: Running, enrolled: Device
) -> None:
    before = key_of(server)
    thief = Device(server, enrolled.id)
    for token in (None, server.join_token(), "guess"):
        answer = thief.enrol(token)
        assert (answer.status_code, answer.json()["keyChange"]) == (202, True)
    assert key_of(server) == before
    assert code_of(thief.open()) == (401, "unknown-device")
    assert enrolled.poll().status_code == 200


def test_an_organization_that_is_not_served_lets_nobody_in_even_who_is_known(
    server: Running, enrolled: Device
) -> None:
    stranger = Device(server, "pi-0002")
    assert code_of(stranger.enrol(organization="other")) == (400, "wrong-org")
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(organization="other"))
    asked = dataclasses.replace(enrolled.session_request(), organization="other")
    assert code_of(enrolled.open(asked)) == (401, "unknown-device")


def test_who_is_shut_out_hears_nothing_else(server: Running, enrolled: Device) -> None:
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="revoked"))
    late = enrolled.session_request(issued_at=wall() - 9999)
    assert code_of(enrolled.open(late)) == (403, "revoked")


def test_a_session_is_of_the_key_and_the_state_in_the_moment_of_its_opening(
    server: Running, enrolled: Device
) -> None:
    def opened(slug: str, key: PublicKey) -> str:
        with server.store.write() as connection:
            try:
                access.open_session(connection, ORGANIZATION, slug, key, "boot", wall())
            except Refused as refused:
                return refused.code
        return "opened"

    key = enrolled.key.public
    assert opened(enrolled.id, key) == "opened"
    assert opened("pi-9999", key) == "unknown-device"
    assert opened(enrolled.id, PrivateKey.generate().public) == "unknown-device"
    for state, code in (
        ("revoked", "revoked"),
        ("duplicate", "duplicate-identity"),
        ("deleted", "unknown-device"),
    ):
        with server.store.write() as connection:
            connection.execute(update(t.edge_devices).values(state=state))
        assert opened(enrolled.id, key) == code


def test_a_manifest_without_a_key_lets_nobody_in(server: Running) -> None:
    device = Device(server)
    server.devices[device.id] = DeviceEntry(device.id, "devices/pi.yaml")
    assert device.enrol().status_code == 202
    server.devices[device.id] = DeviceEntry(device.id, "devices/pi.yaml", revoked=True)
    assert code_of(device.enrol(server.join_token())) == (403, "revoked")


def test_each_key_that_asks_for_an_id_waits_for_itself(server: Running) -> None:
    for _ in range(2):
        assert Device(server).enrol().status_code == 202
    with server.store.read() as connection:
        waiting = connection.execute(select(t.enrolments.c.public_key)).scalars().all()
    assert len(set(waiting)) == 2


def test_a_device_type_is_an_id(server: Running) -> None:
    for kind in ("", "a/b", "A", "a\n"):
        answer = Device(server).enrol(server.join_token(), device_type=kind)
        assert code_of(answer) == (400, "bad-field"), kind


def test_of_twenty_who_share_one_use_of_a_token_exactly_one_gets_in(server: Running) -> None:
    token = server.join_token()
    devices = [Device(server, f"pi-{n:04}") for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda device: device.enrol(token).status_code, devices))
    assert sorted(answers) == [201] + [403] * 19
    with server.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.edge_devices)).scalar() == 1


def test_a_token_of_another_organization_is_unknown_here(server: Running) -> None:
    theirs = server.join_token("other")
    assert code_of(Device(server).enrol(theirs)) == (404, "unknown-join-token")
    assert code_of(Device(server).enrol("guess")) == (404, "unknown-join-token")
    with server.store.read() as connection:
        assert connection.execute(select(t.join_tokens.c.uses_left)).scalars().all() == [1]


@pytest.mark.both_engines
def test_of_ten_thousand_who_ask_only_so_many_wait(store: Store) -> None:
    """All but the last of those that find room lie in the table already: it is as full as that."""
    key = PrivateKey.generate().public
    full = [_row(f"d-{number}", key, f"10.0.0.{number}") for number in range(PENDING_LIMIT - 1)]
    outcomes = Counter[str]()
    with store.write() as connection:
        connection.execute(insert(t.enrolments), full)
        for number in range(200):
            asked = EnrolmentRequest(ORGANIZATION, f"e-{number}", key, "generic", "1")
            outcomes[_outcome(connection, asked, f"192.0.2.{number}")] += 1
        assert outcomes == {"pending": 1, "too-many-pending": 199}
        other = EnrolmentRequest("other", "d-1", key, "generic", "1")
        assert _outcome(connection, other, "192.0.2.1") == "pending"
        assert not connection.execute(select(t.edge_devices)).all()


def _row(slug: str, key: PublicKey, source: str) -> dict[str, Any]:
    return {
        "organization": ORGANIZATION,
        "slug": slug,
        "public_key": key.raw.hex(),
        "device_type": "generic",
        "source": source,
        "created_at": wall(),
    }


def _outcome(
    connection: Any, asked: EnrolmentRequest, source: str, token: str | None = None
) -> str:
    try:
        enrolling.enrol(connection, asked, git=None, join_token=token, source=source, now=wall())
    except Refused as refused:
        return refused.code
    return "pending"


def test_one_source_has_few_that_wait_and_asking_again_is_no_other_one(server: Running) -> None:
    devices = [Device(server, f"d-{number}") for number in range(PENDING_PER_SOURCE)]
    assert {device.enrol().status_code for device in devices} == {202}
    assert code_of(Device(server, "d-more").enrol()) == (429, "too-many-pending")
    assert devices[0].enrol().status_code == 202
    with server.store.write() as connection:
        over = wall() - PENDING_LIFE_S - 1
        connection.execute(update(t.enrolments).values(created_at=over))
    assert Device(server, "d-more").enrol().status_code == 202
    with server.store.read() as connection:
        assert connection.execute(select(t.enrolments.c.slug)).scalars().all() == ["d-more"]


def test_a_captured_enrolment_tells_nothing_to_whoever_sends_it_again(
    server: Running, enrolled: Device
) -> None:
    """It is answered as before, and opens no session: that takes the key."""
    assert enrolled.enrol().json()["status"] == "accepted"
    forged = enrolled.session_request().sign(PrivateKey.generate())
    answer = server.client.post("/api/v1/ota/session", content=forged.to_bytes())
    assert code_of(answer) == (401, "threshold")


def test_a_device_that_starts_again_and_again_is_no_duplicate(
    server: Running, enrolled: Device
) -> None:
    for boot in ("a", "b", "a", "c", "b", "d", "e", "e"):
        request = dataclasses.replace(enrolled.session_request(), boot_id=boot)
        assert enrolled.open(request).status_code == 200


def test_an_old_devices_id_is_given_to_no_key(server: Running) -> None:
    path = "/api/v1/admin/ota/devices/old-1/token"
    body = {"device_type": "raspberry_pi"}
    assert server.client.post(path, json=body, headers=server.admin()).status_code == 201
    assert code_of(Device(server, "old-1").enrol(server.join_token())) == (409, "id-taken")
    assert code_of(Device(server, "old-1").open()) == (401, "unknown-device")


@pytest.mark.both_engines
def test_a_key_is_used_up_by_nobody_who_waits_already(store: Store) -> None:
    with store.write() as connection:
        terms = JoinTerms(to_pending=True)
        token = join_tokens.create(connection, ORGANIZATION, terms, author="t", now=wall())
        key = PublicKey.from_hex("ab" * 32)
        for _ in range(3):
            asked = EnrolmentRequest(ORGANIZATION, "d-1", key, "generic", "1")
            enrolling.enrol(connection, asked, git=None, join_token=token, source="x", now=wall())
        other = EnrolmentRequest(ORGANIZATION, "d-2", key, "generic", "1")
        with pytest.raises(Refused, match="join-token"):
            enrolling.enrol(connection, other, git=None, join_token=token, source="x", now=wall())
        assert not connection.execute(select(t.edge_devices)).all()


@pytest.mark.both_engines
def test_who_finds_no_room_to_wait_in_has_used_nothing_up(store: Store) -> None:
    key = PrivateKey.generate().public
    asked = EnrolmentRequest(ORGANIZATION, "e-1", key, "generic", "1")
    crowd = [_row(f"d-{number}", key, "10.0.0.1") for number in range(PENDING_PER_SOURCE)]
    with store.write() as connection:
        terms = JoinTerms(to_pending=True)
        token = join_tokens.create(connection, ORGANIZATION, terms, author="t", now=wall())
        connection.execute(insert(t.enrolments), crowd)
    outcomes = []
    for source in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        with store.write() as connection:
            outcomes.append(_outcome(connection, asked, source, token))
    assert outcomes == ["too-many-pending", "too-many-pending", "pending"]
    with store.read() as connection:
        assert connection.execute(select(t.join_tokens.c.uses_left)).scalar() == 0
