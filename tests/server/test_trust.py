"""The online key and the newest root: what is signed, what is refused, and what people are told."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.manifests.test_git_run import git
from tests.server.conftest import (
    ORGANIZATION,
    YEAR_S,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
    wall,
)
from tests.server.test_device import device_seq
from tests.server.test_metrics import scraped
from tests.server.test_serve import make_fleet
from tests.server.visiting import Guest
from tests.stores import open_fresh
from towline.manifests.repository import Repository
from towline.reconciler.server import online_key
from towline.reconciler.server.founding import FleetSettings, find_trust
from towline.reconciler.server.online_key import OnlineKey
from towline.reconciler.store import repositories
from towline.reconciler.trust_warnings import EXPIRY_WARNED_S, warnings_of
from towline.schemas import envelope
from towline.schemas.desired_state import DESIRED_STATE_TYPE, parse_payload
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.schemas.root import Role, Root

ROOT_KEY, OLD, NEW = (PrivateKey.from_raw(bytes([n]) * 32) for n in (31, 32, 33))


def make_root(version: int, online: PrivateKey, **changes: object) -> Root:
    """A root of one root key that names one online key."""
    role = Role((ROOT_KEY.public,), 1)
    made = Root(version, ORGANIZATION, wall() + YEAR_S, role, role, Role((online.public,), 1))
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(online_key, "LOOK_AGAIN_S", 0.0)
    file = tmp_path / "online.pem"
    file.write_bytes(OLD.pem())
    return file


def test_a_new_key_is_taken_up_when_a_root_names_it(key_file: Path) -> None:
    key, second = OnlineKey(key_file), make_root(2, NEW)
    assert key.under(make_root(1, OLD)) is not None
    assert key.under(second) is None, "the old key is worth nothing"
    key_file.write_bytes(NEW.pem())
    found = key.under(second)
    assert found is not None
    assert found.public == NEW.public


def test_a_new_key_that_no_root_names_yet_changes_nothing(key_file: Path) -> None:
    key, first = OnlineKey(key_file), make_root(1, OLD)
    key_file.write_bytes(NEW.pem())
    found = key.under(first)
    assert found is not None
    assert found.public == OLD.public


def test_nobody_is_asked_while_the_server_runs(key_file: Path) -> None:
    asked: list[Path] = []

    def ask(file: Path) -> bytes:
        asked.append(file)
        return b"first"

    key_file.write_bytes(OLD.pem(b"first"))
    key = OnlineKey(key_file, ask)
    key_file.write_bytes(NEW.pem(b"other"))
    assert key.under(make_root(2, NEW)) is None
    key_file.write_bytes(NEW.pem(b"first"))
    assert key.under(make_root(3, NEW)) is not None
    assert asked == [key_file]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A repository whose root 1 names OLD."""
    make_fleet(tmp_path / "fleet", ORGANIZATION, tmp_path / "unused.pem")
    write_root(tmp_path / "fleet", make_root(1, OLD))
    return tmp_path / "fleet"


def write_root(fleet: Path, root: Root, *signers: PrivateKey) -> str:
    data = root.sign(*(signers or (ROOT_KEY,)))
    (fleet / f"trust/root/{root.version}.json").write_bytes(data)
    git(fleet, "add", ".")
    git(fleet, "commit", "-qm", f"Root {root.version}")
    return git(fleet, "rev-parse", "HEAD")


def may_start(fleet: Path, key: PrivateKey, applied: str | None, accepted: str = "") -> int:
    """The version of the root that the server begins with; raises Problem when it refuses."""
    file = fleet.parent / "online.pem"
    file.write_bytes(key.pem())
    store = open_fresh(fleet.parent / "towline.db")
    try:
        with store.write() as connection:
            repositories.ensure(connection, ORGANIZATION, str(fleet), "main", "", wall())
            repositories.change(
                connection, ORGANIZATION, applied_commit=applied, accepted_commit=accepted or None
            )
        found = find_trust(
            store, Repository(fleet), FleetSettings(ORGANIZATION, fleet, "", "main", file)
        )
        return found.root.version
    finally:
        store.close()


@pytest.mark.parametrize("is_applied", [True, False])
def test_the_server_begins_with_the_key_of_the_newest_root_alone(
    fleet: Path, is_applied: bool
) -> None:
    """Applied or not: a commit that is held for another reason retires a stolen key as well."""
    first = git(fleet, "rev-parse", "HEAD")
    second = write_root(fleet, make_root(2, NEW))
    applied = second if is_applied else first
    assert may_start(fleet, NEW, applied) == 2
    named = f"root 2 of commit {second[:12]} names {NEW.public.keyid[:12]}"
    with pytest.raises(Problem, match=f"{named}, it is {OLD.public.keyid[:12]}"):
        may_start(fleet, OLD, applied)


def test_a_head_with_other_roots_counts_only_when_somebody_let_it_through(fleet: Path) -> None:
    first = git(fleet, "rev-parse", "HEAD")
    replaced = write_root(fleet, make_root(1, NEW))
    assert may_start(fleet, OLD, first) == 1
    with pytest.raises(Problem, match="may not sign"):
        may_start(fleet, NEW, first)
    assert may_start(fleet, NEW, first, replaced) == 1


def test_a_head_whose_roots_are_broken_leaves_those_in_force(fleet: Path) -> None:
    first = git(fleet, "rev-parse", "HEAD")
    write_root(fleet, make_root(2, NEW), NEW)
    assert may_start(fleet, OLD, first) == 1
    with pytest.raises(Problem, match="may not sign documents of acme: threshold"):
        may_start(fleet, OLD, None)


def test_nothing_is_signed_by_a_key_that_the_root_does_not_name(
    server: Running, enrolled: Device
) -> None:
    assert enrolled.poll().status_code == 200
    server.online_keys.append(None)
    answer = enrolled.poll()
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert scraped(server)["towline_online_key_named"] == 0
    server.online_keys.append(NEW)
    server.roots.append(make_root(2, NEW).sign(ROOT_KEY))
    sealed = envelope.parse(enrolled.poll().content)
    payload = sealed.verify(DESIRED_STATE_TYPE, [NEW.public], 1)
    assert parse_payload(payload).root_version == 2
    assert scraped(server)["towline_online_key_named"] == 1


def test_a_poll_that_waited_is_not_answered_by_a_dead_key(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    """The key dies while the poll is parked, and then the content changes."""
    etag, seq = enrolled.poll().headers["etag"], device_seq(server)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(enrolled.poll, etag, wait=20)
        while not server.doorbell.parked:
            time.sleep(0.01)
        server.online_keys.append(None)
        run = add_run()
        add_batch(server, run)
        add_target(server, run, seq)
        server.doorbell.ring({seq})
        assert waiting.result(timeout=20).status_code == 503


def test_the_root_s_end_is_a_figure(server: Running) -> None:
    found = scraped(server)
    assert 0 <= server.root.expires - wall() - found["towline_root_expires_seconds"] <= 5
    assert found["towline_root_version"] == 1


DEVELOPMENT = "root 1 has throw-away development keys"
SOON = "root 1 expires in 10 d"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_development": True}, DEVELOPMENT),
        ({"expires": wall() + 10 * 86400 + 3600}, SOON),
        ({"expires": wall() - 86400}, "root 1 expired"),
    ],
)
def test_what_must_be_said_stands_on_every_page_and_in_the_api(
    changes: dict[str, object], words: str, server: Running
) -> None:
    guest = Guest(server).sign_in()
    for path in ("", "/fleet", "/git"):
        assert words not in guest.get(path).text
    server.roots[:] = [make_root(1, OLD, **changes).sign(ROOT_KEY)]
    for path in ("", "/fleet", "/git"):
        assert words in guest.get(path).text
    found = server.client.get("/api/v1/admin/ota/repository", headers=server.admin()).json()
    assert any(words in warning for warning in found["warnings"])


@pytest.mark.parametrize(
    ("left", "words"),
    [(EXPIRY_WARNED_S + 1, []), (EXPIRY_WARNED_S, ["expires in 90 d"]), (0, ["expired 0 s ago"])],
)
def test_the_end_is_told_ninety_days_ahead(left: int, words: list[str]) -> None:
    found = warnings_of(make_root(1, OLD, expires=1000 + left), 1000)
    assert len(found) == len(words)
    assert all(word in said for word, said in zip(words, found, strict=True))


def test_an_online_key_that_is_missing_is_told(server: Running) -> None:
    server.online_keys.append(None)
    found = server.client.get("/api/v1/admin/ota/repository", headers=server.admin()).json()
    assert "names another online key than this server has" in found["warnings"][0]
