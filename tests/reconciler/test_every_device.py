"""However devices came to be as they are, a commit does what a look at every one of them would."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from tests.soaking import examples
from tests.stores import open_quickly
from towline.reconciler.store import (
    admissions,
    device_keys,
    enrolling,
    git_devices,
    labels,
    leaving,
    outbox,
    words_of_git,
)
from towline.reconciler.store import tables as t
from towline.reconciler.store.access import find_device
from towline.reconciler.store.device_keys import DeviceState, KeyFrom, admitted, state_of
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.enrolling import Applicant
from towline.reconciler.store.events import Event
from towline.reconciler.store.git_devices import GitDevice, Said
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PublicKey

pytestmark = pytest.mark.both_engines

KEYS = [PublicKey.from_hex(digits * 32) for digits in ("ab", "cd")]
NAMES = [f"pi-{n}" for n in range(5)]
NEW = "pi-9"
"""It enrols while the commit is compared."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_quickly(tmp_path / "towline.db")
    yield opened
    opened.close()


some_labels = st.sampled_from([{}, {"site": "oslo"}, {"site": "rome"}, {"ring": "one"}])
some_time = st.sampled_from([None, None, 5])
hex_key = st.sampled_from([None, *(key.raw.hex() for key in KEYS)])
prior = st.fixed_dictionaries(
    {
        "labels_git": some_labels,
        "labels_people": some_labels,
        "public_key": hex_key,
        "key_from": st.sampled_from(["", *KeyFrom]),
        "state": st.sampled_from([None, None, *DeviceState]),
        "revoked_in_git": st.booleans(),
        "revoked_at": some_time,
        "duplicate_at": some_time,
        "deleted_at": st.sampled_from([None, None, None, 5]),
        "organization": st.sampled_from(["acme", "acme", "acme", "beta"]),
    }
)
"""None as the state: as it follows from the rest; else, however it came about, any."""
words = st.builds(
    GitDevice, some_labels, st.sampled_from([None, *KEYS]), st.sampled_from([False, False, True])
)
acts = st.lists(
    st.tuples(
        st.sampled_from(["revoke", "let in", "hold", "label", "delete", "admit", "enrol"]),
        st.integers(0, len(NAMES)),
        words,
    ),
    max_size=3,
)


def put_devices(connection: Connection, priors: list[dict[str, Any]]) -> None:
    for table in (t.sessions, t.dirty_devices, t.device_state, t.edge_devices):
        connection.execute(delete(table))
    for seq, (name, given_) in enumerate(zip(NAMES, priors, strict=False), 1):
        values = {**given_, "labels_join": {"lot": "7"}}
        follows = state_of(
            deleted_at=values["deleted_at"],
            is_revoked_in_git=values["revoked_in_git"],
            revoked_at=values["revoked_at"],
            duplicate_at=values["duplicate_at"],
        )
        values["state"] = (values["state"] or follows).value
        merged = labels.merged(values["labels_git"], values["labels_people"], {"lot": "7"})
        connection.execute(
            insert(t.edge_devices).values(
                seq=seq,
                id=device_uuid(values["organization"], name),
                slug=name,
                device_type="generic",
                label_set_id=labels.intern_labels(connection, merged),
                created_at=1,
                **values,
            )
        )
        connection.execute(insert(t.device_state).values(device_seq=seq, facts={}))
        session = {"device_seq": seq, "digest": f"{seq:064}", "opened_at": 1, "expires_at": 99}
        connection.execute(insert(t.sessions), session)
    if is_postgres(connection):
        # Whoever enrols gets a number of the sequence, which knows nothing of the ones above.
        connection.execute(select(func.setval("edge_devices_seq_seq", 100)))


def perform(connection: Connection, act: str, seq: int, git: GitDevice) -> None:
    """What others write while a commit is compared, each by the way that it is written."""
    row = connection.execute(select(t.edge_devices).where(t.edge_devices.c.seq == seq)).first()
    if act == "enrol":
        who = Applicant("acme", NEW, KEYS[0], "generic", {})
        known = find_device(connection, "acme", NEW)
        enrolling.admit(connection, who, known, git, KeyFrom.GIT, 7)
    elif row is None:
        return
    elif act == "revoke":
        device_keys.revoke(connection, row.organization, seq, 7)
    elif act == "let in":
        device_keys.let_in_again(connection, row.organization, seq)
    elif act == "hold":
        device_keys.hold_as_duplicate(connection, row.organization, seq, 7)
    elif act == "label":
        before = labels.sources_of(connection, row.organization, row.slug)
        assert before is not None
        labels.set_from_people(connection, row.organization, before, {"site": "bonn"})
    elif act == "admit":
        values = admitted(KEYS[1], KeyFrom.PERSON)
        device_keys.set_admission(connection, row.organization, seq, values)
    elif row.state != "deleted":
        try:
            leaving.leave(connection, row.organization, row.slug, 7)
        except admissions.StateForbids:
            return


def look_at_every_device(
    connection: Connection, organization: str, devices: Mapping[str, GitDevice], kept: set[str]
) -> list[Event]:
    """What was done before: each device of the organization is held against git."""
    found = connection.execute(
        select(t.edge_devices).where(
            t.edge_devices.c.organization == organization, t.edge_devices.c.state != "deleted"
        )
    ).all()
    told = [
        set_device(connection, row, devices.get(row.slug, GitDevice()))
        for row in found
        if row.slug not in kept
    ]
    return [event for event in told if event is not None]


def set_device(connection: Connection, row: Any, git: GitDevice) -> Event | None:
    wanted: dict[str, Any] = {"labels_git": dict(git.labels)}
    if git.public_key is not None and row.public_key is not None:
        is_other = git.public_key.raw.hex() != row.public_key
        wanted |= admitted(git.public_key, KeyFrom.GIT) if is_other else {"key_from": "git"}
    is_revoked = git.is_revoked or (row.key_from == "git" and git.public_key is None)
    state = state_of(
        deleted_at=None,
        is_revoked_in_git=is_revoked,
        revoked_at=wanted.get("revoked_at", row.revoked_at),
        duplicate_at=wanted.get("duplicate_at", row.duplicate_at),
    )
    wanted |= {"revoked_in_git": is_revoked, "state": state.value}
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not changed:
        return None
    if "labels_git" in changed:
        merged = labels.merged(git.labels, row.labels_people, row.labels_join)
        changed["label_set_id"] = labels.intern_labels(connection, merged)
    of_device = t.edge_devices.c.seq == row.seq
    connection.execute(update(t.edge_devices).where(of_device).values(**changed))
    if not changed.keys() & {"state", "public_key"}:
        return None
    device_keys.end_sessions(connection, [row.seq])
    if "public_key" in changed:
        return Event("device.key-changed", device=row.slug, message="git lists another key")
    kind = "device.revoked" if changed["state"] == "revoked" else "device.let-in"
    return Event(kind, device=row.slug, message="by its Device manifest")


def outcome(connection: Connection, told: list[Event]) -> dict[str, Any]:
    """All that a commit did."""
    devices = select(t.edge_devices, t.label_sets.c.labels).join(t.label_sets)
    rows = connection.execute(devices.order_by(t.edge_devices.c.seq)).mappings()
    return {
        "devices": [dict(row) | {"label_set_id": 0} for row in rows],
        "sessions": set(connection.execute(select(t.sessions.c.device_seq)).scalars()),
        "told sessions": dict(outbox.told(connection).sessions),
        "rung": set(outbox.told(connection).devices),
        "events": sorted(told, key=lambda event: event.device or ""),
    }


class TakenBack(Exception):
    """So that the same can be tried another way."""


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    priors=st.lists(prior, min_size=1, max_size=len(NAMES)),
    devices=st.dictionaries(st.sampled_from([*NAMES, NEW, "nobody"]), words, max_size=4),
    kept=st.sets(st.sampled_from(NAMES), max_size=1),
    meanwhile=acts,
    at_once=st.sampled_from([2, words_of_git.AT_ONCE]),
    changed_limit=st.sampled_from([0, git_devices.CHANGED_LIMIT]),
)
def test_it_comes_to_the_same_as_a_look_at_every_device(
    store: Store,
    priors: list[dict[str, Any]],
    devices: dict[str, GitDevice],
    kept: set[str],
    meanwhile: list[tuple[str, int, GitDevice]],
    at_once: int,
    changed_limit: int,
) -> None:
    with store.write() as connection:
        put_devices(connection, priors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_of_git, "AT_ONCE", at_once)
        patch.setattr(git_devices, "CHANGED_LIMIT", changed_limit)
        said = Said("acme", devices, lambda name: name in kept)
        with store.read() as connection:
            compared = git_devices.compare(connection, said)
        with store.write() as connection:
            for act, seq, git in meanwhile:
                perform(connection, act, seq, git)
        with pytest.raises(TakenBack), store.write() as connection:
            told = look_at_every_device(connection, "acme", devices, kept)
            wanted = outcome(connection, told)
            raise TakenBack
        with store.write() as connection:
            assert outcome(connection, git_devices.put_in_force(connection, compared)) == wanted
        with store.read() as connection:
            assert git_devices.compare(connection, said).differing == ()
