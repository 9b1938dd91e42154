"""Whom a bearer token speaks for, and until when."""

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from tests.reconciler.simulation import RELEASE_KEY, Simulation
from tests.server.begun import begin
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.store import tables as t
from towline.schemas.enrolment import secret_digest

NOW = 1_790_000_000


def test_a_token_speaks_for_its_device_until_it_expires_and_no_other_does() -> None:
    sessions, mine = Sessions(), Session(1, "pi-1", "k" * 64, NOW + 10, "acme")
    begin(sessions, "token", mine)
    assert sessions.find(b"token", NOW + 9) is mine
    assert sessions.find(b"token", NOW + 10) is None
    for other in (b"", b"toke", b"token\n", "tok\xe9n".encode("latin-1")):
        assert sessions.find(other, NOW) is None


def test_a_session_that_is_being_written_speaks_for_nobody_and_ends_no_other() -> None:
    sessions, first = Sessions(), Session(1, "pi-1", "k" * 64, NOW + 10, "acme")
    begin(sessions, "one", first)
    sessions.expect("two", Session(1, "pi-1", "k" * 64, NOW + 20, "acme"))
    assert sessions.find(b"two", NOW) is None
    assert first.is_live
    sessions.replace({1: secret_digest("three")})  # opened at another process meanwhile
    assert sessions.find(b"two", NOW) is None
    assert not first.is_live


@pytest.mark.parametrize("device_seq", [1, 2])
def test_a_session_lives_until_its_device_opens_another(device_seq: int) -> None:
    sessions, first = Sessions(), Session(1, "pi-1", "k" * 64, NOW + 10, "acme")
    begin(sessions, "one", first)
    assert first.is_live
    begin(sessions, "two", Session(device_seq, "pi", "k" * 64, NOW + 10, "acme"))
    assert first.is_live is (device_seq == 2)
    assert (sessions.find(b"one", NOW) is first) is (device_seq == 2)


def test_a_device_cannot_open_a_session_to_be_forgotten() -> None:
    sessions, first = Sessions(), Session(1, "pi-1", "k" * 64, NOW + 10, "acme")
    begin(sessions, "one", first)
    for token in ("two", "three"):
        begin(sessions, token, Session(1, "pi-1", "k" * 64, NOW + 10, "acme"))
    third = sessions.find(b"three", NOW)
    assert third is not None
    assert third.traces is first.traces
    sessions.replace({1: secret_digest("four")})  # opened at another process
    begin(sessions, "five", Session(1, "pi-1", "k" * 64, NOW + 10, "acme"))
    fifth = sessions.find(b"five", NOW)
    assert fifth is not None
    assert fifth.traces is first.traces
    begin(sessions, "other", Session(2, "pi-2", "k" * 64, NOW + 10, "acme"))
    other = sessions.find(b"other", NOW)
    assert other is not None
    assert other.traces is not first.traces


def test_what_is_read_anew_ends_no_session_that_is_the_same(tmp_path: Path) -> None:
    fleet, sessions = Simulation(tmp_path, devices=1), Sessions()
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(public_key=RELEASE_KEY.public.raw.hex()))
        row = {"device_seq": fleet.devices["till-1"].seq, "opened_at": NOW, "expires_at": NOW + 10}
        connection.execute(insert(t.sessions), [row | {"digest": secret_digest("one")}])
    sessions.load(fleet.store)
    first = sessions.find(b"one", NOW)
    assert first is not None
    sessions.load(fleet.store)
    assert sessions.find(b"one", NOW) is first
    was_live = first.is_live
    with fleet.store.write() as connection:
        connection.execute(update(t.sessions).values(digest=secret_digest("two")))
    sessions.load(fleet.store)
    assert (was_live, first.is_live) == (True, False)
    assert sessions.find(b"one", NOW) is None
    second = sessions.find(b"two", NOW)
    assert second is not None
    assert second.is_live
