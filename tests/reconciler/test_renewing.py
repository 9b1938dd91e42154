"""Another release key: the chain goes on, and documents carry the word of the new key."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from tests.reconciler.simulation import ORGANIZATION, RELEASE_KEY, ROOT, manifest, statement
from tests.reconciler.test_follow import NOW, Fleet
from towline.reconciler.acts import accept_commit
from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.passing import pass_over
from towline.reconciler.store import runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.labels import intern_labels
from towline.schemas import envelope
from towline.schemas import statement as statements
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused
from towline.schemas.root import Role, Root
from towline.schemas.statement import Statement, statement_path

OTHER_KEY, EVIL_KEY = (PrivateKey.from_raw(bytes([n]) * 32) for n in (41, 42))
SECOND = replace(ROOT, version=2, release=Role((OTHER_KEY.public,), 1))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """app 1.0.0, signed by the first release key, with a run that offers it."""
    fleet = Fleet(tmp_path)
    lay(fleet, statement("1.0.0"), RELEASE_KEY)
    fleet.commit(app=manifest("1.0.0"))
    assert fleet.follower.look(NOW)
    assert fleet.follower.head is not None
    pass_over(fleet.store, fleet.follower.head, "app", NOW, 60)
    assert is_vouched_for(offered(fleet), ROOT)
    return fleet


def lay(fleet: Fleet, word: Statement, key: PrivateKey) -> None:
    path = statement_path("app", "1.0.0", "app-1.0.0.tar.gz")
    fleet.write(path, word.sign(key).to_bytes().decode())


def lay_root(fleet: Fleet, root: Root, *keys: PrivateKey) -> None:
    fleet.write(f"trust/root/{root.version}.json", root.sign(*keys).decode())


def add_device(fleet: Fleet) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            insert(t.edge_devices),
            {
                "id": device_uuid(ORGANIZATION, "pi-1"),
                "seq": 1,
                "slug": "pi-1",
                "organization": ORGANIZATION,
                "device_type": "pi",
                "label_set_id": intern_labels(connection, {}),
                "labels_git": {},
                "labels_people": {},
                "labels_join": {},
                "state": "active",
                "created_at": NOW,
            },
        )


def offered(fleet: Fleet) -> OfferedRelease:
    with fleet.store.read() as connection:
        run = connection.execute(select(t.runs)).one()
    return Offer.parse(run.offer, run.target_version).releases[0]


def is_vouched_for(release: OfferedRelease, root: Root) -> bool:
    try:
        statements.verify(envelope.from_document(release.statement), root.release)
    except Refused:
        return False
    return True


@pytest.mark.both_engines
def test_what_is_signed_anew_is_offered_anew(fleet: Fleet) -> None:
    touched: list[set[str]] = []
    add_device(fleet)
    fleet.store.hear(lambda told: touched.append(told.everyone) if told.everyone else None)
    lay_root(fleet, SECOND, RELEASE_KEY)
    lay(fleet, statement("1.0.0", rollback_index=3), OTHER_KEY)
    fleet.commit()
    assert fleet.follower.look(NOW)
    found = offered(fleet)
    assert is_vouched_for(found, SECOND)
    assert found.rollback_index == 3
    assert (found.version, found.sha256) == ("1.0.0", statement("1.0.0").sha256)
    assert touched == [{ORGANIZATION}], "its document is another one"


@pytest.mark.parametrize(
    ("word", "key"),
    [
        (statement("1.0.0"), EVIL_KEY),
        (replace(statement("1.0.0"), sha256="ab" * 32), OTHER_KEY),
        (replace(statement("1.0.0"), version="1.0.1"), OTHER_KEY),
        (replace(statement("1.0.0"), size=11), OTHER_KEY),
        (replace(statement("1.0.0"), organization="evil"), OTHER_KEY),
        (statement("1.0.0", name="other"), OTHER_KEY),
    ],
    ids=["another key", "checksum", "version", "size", "organization", "component"],
)
def test_a_word_on_something_else_is_not_taken_up(
    word: Statement, key: PrivateKey, fleet: Fleet
) -> None:
    before = offered(fleet)
    lay_root(fleet, SECOND, RELEASE_KEY)
    lay(fleet, word, key)
    fleet.commit()
    assert fleet.follower.look(NOW)
    assert offered(fleet) == before


def test_a_commit_that_signs_nothing_anew_reads_no_run(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "with_offers", lambda *_: pytest.fail("read"))
    fleet.write("releases/app/2.0.0/app-2.0.0.tar.gz.json", "{}")
    fleet.commit(app=manifest("2.0.0"))
    assert fleet.follower.look(NOW)


def test_roots_that_do_not_go_on_are_held_until_somebody_lets_them_through(fleet: Fleet) -> None:
    """A merge replaced the whole chain by one that is sound in itself."""
    role = Role((EVIL_KEY.public,), 1)
    lay_root(fleet, replace(ROOT, root=role, release=role, online=role), EVIL_KEY)
    sha = fleet.commit()
    assert not fleet.follower.look(NOW)
    held = fleet.repository()
    assert held["held_commit"] == sha
    assert "its roots are others than those in force" in str(held["hold_reason"])
    assert fleet.follower.head is not None
    assert fleet.follower.head.root == ROOT
    accept_commit(fleet.store, ORGANIZATION, sha, author="ops", reason="afresh", now=NOW)
    assert fleet.follower.look(NOW)
    assert fleet.follower.head.root.root == role


def test_roots_that_were_cut_off_are_held(fleet: Fleet) -> None:
    lay_root(fleet, replace(SECOND, release=ROOT.release), RELEASE_KEY)
    fleet.commit()
    assert fleet.follower.look(NOW)
    (fleet.folder / "trust/root/2.json").unlink()
    fleet.commit()
    assert not fleet.follower.look(NOW)
    assert fleet.follower.head is not None
    assert fleet.follower.head.root.version == 2
