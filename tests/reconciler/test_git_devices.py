"""What Device manifests say of keys and admission, commit by commit, on both engines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.stores import open_quickly
from towline.reconciler.store import device_keys, enrolling, git_devices
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_keys import KeyFrom
from towline.reconciler.store.engine import Store
from towline.reconciler.store.git_devices import GitDevice, Said
from towline.reconciler.store.outbox import Told
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

pytestmark = pytest.mark.both_engines

OLD, NEW = PublicKey.from_hex("ab" * 32), PublicKey.from_hex("cd" * 32)
LISTED, OTHER = GitDevice(public_key=OLD), GitDevice(public_key=NEW)
TOLD: list[Told] = []
"""What the store's transactions told."""
REVOKED, LABELLED = GitDevice(is_revoked=True), GitDevice({"site": "oslo"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_quickly(tmp_path / "towline.db")
    opened.hear(TOLD.append)
    yield opened
    TOLD.clear()
    opened.close()


def enrol(store: Store, key: PublicKey, git: GitDevice | None = None) -> enrolling.Enrolled:
    with store.write() as connection:
        asked = EnrolmentRequest("acme", "pi-1", key, "generic", "1")
        found = enrolling.enrol(connection, asked, git=git, join_token=None, source="x", now=1)
        assert isinstance(found, enrolling.Enrolled)
        seq = found.device_seq
        connection.execute(t.sessions.delete())
        session = {"device_seq": seq, "digest": "aa" * 32, "opened_at": 1, "expires_at": 99}
        connection.execute(insert(t.sessions), session)
    return found


def commit(store: Store, git: GitDevice | None, *, is_kept: bool = False) -> list[str]:
    """The commit's word on the device; the kinds of events that tell of it."""
    with store.write() as connection:
        devices = {"pi-1": git} if git is not None else {}
        said = Said("acme", devices, lambda _: is_kept)
        told = git_devices.put_in_force(connection, git_devices.compare(connection, said))
    return [event.kind for event in told]


def device(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(select(t.edge_devices)).one()


def ended(store: Store) -> set[int]:
    """Whose session was told to be over since it was asked last, and is."""
    with store.read() as connection:
        left = set(connection.execute(select(t.sessions.c.device_seq)).scalars())
    told = {device for each in TOLD for device, digest in each.sessions.items() if not digest}
    TOLD.clear()
    return told - left


def test_a_key_that_git_lists_gets_in_and_another_one_takes_its_place(store: Store) -> None:
    assert enrol(store, OLD, LISTED).is_new
    assert commit(store, LISTED) == []
    assert not ended(store)
    assert commit(store, OTHER) == ["device.key-changed"]
    assert ended(store) == {device(store).seq}
    assert PublicKey.from_hex(device(store).public_key) == NEW
    assert enrol(store, NEW, OTHER).is_key_changed is False
    with pytest.raises(Refused, match="id-taken"):
        enrol(store, OLD, OTHER)


def test_a_key_that_git_lists_replaces_one_that_a_token_brought(store: Store) -> None:
    enrol(store, OLD, LISTED)
    with store.write() as connection:
        connection.execute(update(t.edge_devices).values(key_from=KeyFrom.JOIN.value))
    found = enrol(store, NEW, OTHER)
    assert (found.is_new, found.is_key_changed) == (False, True)
    assert (device(store).key_from, device(store).state) == ("git", "active")


def test_a_key_that_git_lists_no_longer_is_revoked_until_it_does_again(store: Store) -> None:
    enrol(store, OLD, LISTED)
    assert commit(store, None, is_kept=True) == []
    assert commit(store, LABELLED) == ["device.revoked"]
    assert (device(store).state, ended(store)) == ("revoked", {device(store).seq})
    assert commit(store, LISTED) == ["device.let-in"]
    assert device(store).state == "active"


def test_a_device_of_a_token_goes_on_without_a_manifest(store: Store) -> None:
    enrol(store, OLD, LISTED)
    with store.write() as connection:
        connection.execute(update(t.edge_devices).values(key_from=KeyFrom.JOIN.value))
    assert commit(store, LABELLED) == commit(store, None) == []
    assert (device(store).state, ended(store)) == ("active", set())
    assert commit(store, REVOKED) == ["device.revoked"]
    assert commit(store, None) == ["device.let-in"]


def test_a_commit_does_not_undo_what_people_or_two_machines_did(store: Store) -> None:
    enrol(store, OLD, LISTED)
    seq = device(store).seq
    with store.write() as connection:
        device_keys.revoke(connection, "acme", seq, 5)
    assert commit(store, LISTED) == []
    assert device(store).state == "revoked"
    with store.write() as connection:
        device_keys.let_in_again(connection, "acme", seq)
        device_keys.hold_as_duplicate(connection, "acme", seq, 6)
    assert commit(store, GitDevice({"site": "oslo"}, OLD)) == []
    assert (device(store).state, device(store).labels_git) == ("duplicate", {"site": "oslo"})
    assert commit(store, OTHER) == ["device.key-changed"]
    assert (device(store).state, device(store).duplicate_at) == ("active", None)


def test_an_old_device_gets_no_key_by_a_manifest(store: Store) -> None:
    enrol(store, OLD, LISTED)
    with store.write() as connection:
        connection.execute(update(t.edge_devices).values(public_key=None, key_from=""))
    assert commit(store, OTHER) == []
    assert device(store).public_key is None
