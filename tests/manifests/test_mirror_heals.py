"""A damaged mirror is fetched anew, and what only the old one held stays within reach."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifests.git_server import GitHost
from tests.manifests.hosted import NOW, Fleet, failure, over_https
from towline.manifests import mirror as mirrors
from towline.manifests.git_environment import fetch_environment
from towline.manifests.git_run import chunks
from towline.manifests.mirror import Mirror
from towline.schemas.problems import Problem


def _only_head_left(mirror: Path) -> None:
    for each in mirror.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        elif each.name != "HEAD":
            each.unlink()


def _empty_head(mirror: Path) -> None:
    (mirror / "HEAD").write_bytes(b"")


def _empty_ref(mirror: Path) -> None:
    (mirror / "refs" / "towline" / "followed").write_bytes(b"")


def _ref_to_nothing(mirror: Path) -> None:
    (mirror / "refs" / "towline" / "followed").write_text("ab" * 20 + "\n")


def _empty_packs(mirror: Path) -> None:
    packs = list((mirror / "objects" / "pack").glob("*.pack"))
    assert packs
    for pack in packs:
        pack.chmod(0o644)
        pack.write_bytes(b"")


def _no_objects(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


Damage = Callable[[Path], None]
DAMAGES = [_only_head_left, _empty_head, _empty_ref, _ref_to_nothing, _empty_packs, _no_objects]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_mirror_heals_at_the_next_fetch(hosted: Fleet, damage: Damage) -> None:
    hosted.commit("a: 1")
    hosted.mirror().fetch(NOW)
    damage(hosted.mirror().path)
    head = hosted.commit("a: 2")
    mirror = hosted.mirror()
    mirror.fetch(NOW + 1)
    assert mirror.head() == head
    assert mirror.read(head) == {"a.yaml": b"a: 2"}


def test_damage_that_only_reading_finds_heals_though_nothing_was_pushed(hosted: Fleet) -> None:
    head = hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    _make_loose(mirror)
    blob = hosted.git("rev-parse", "HEAD:a.yaml")
    loose = mirror.path / "objects" / blob[:2] / blob[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"")
    with pytest.raises(Problem):
        mirror.read(head)
    mirror.fetch(NOW + 1)
    assert mirror.read(head) == {"a.yaml": b"a: 1"}


def _make_loose(mirror: Mirror) -> None:
    """As fetches of a former version left it."""
    (pack,) = (mirror.path / "objects" / "pack").glob("*.pack")
    content = pack.read_bytes()
    shutil.rmtree(mirror.path / "objects" / "pack")
    away = mirror.path.parent / "away.pack"
    away.write_bytes(content)
    with away.open("rb") as given:
        list(chunks(mirror._git, "unpack-objects", "-q", given=given))


def test_what_a_force_push_left_behind_survives_the_healing(hosted: Fleet) -> None:
    kept = hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    hosted.git("commit", "-q", "--amend", "-m", "another")
    mirror.fetch(NOW)
    hosted.git("reflog", "expire", "--expire=now", "--all")
    hosted.git("gc", "--quiet", "--prune=now")
    _empty_head(mirror.path)
    mirror.fetch(NOW + 1)
    assert mirror.head() == hosted.git("rev-parse", "HEAD")
    assert mirror.read(kept) == {"a.yaml": b"a: 1"}


def test_a_branch_below_the_name_of_a_former_one_is_followed(hosted: Fleet) -> None:
    hosted.commit("a: 1")
    hosted.git("branch", "rel")
    hosted.mirror(branch="rel").fetch(NOW)
    hosted.git("branch", "-m", "rel", "rel/v2")
    mirror = hosted.mirror(branch="rel/v2")
    mirror.fetch(NOW + 1)
    assert mirror.head() == hosted.git("rev-parse", "rel/v2")


def test_a_server_that_was_cut_off_between_two_mirrors_goes_on_with_the_new_one(
    hosted: Fleet, host: GitHost
) -> None:
    head = hosted.commit("a: 1")
    mirror = hosted.mirror(over_https(host))
    mirror.fetch(NOW)
    mirror.path.rename(mirror.path.with_suffix(".new.git"))
    hosted.mirror(over_https(host)).fetch(NOW)
    assert mirror.read(head) == {"a.yaml": b"a: 1"}
    assert not mirror.path.with_suffix(".new.git").exists()


def test_what_a_new_mirror_does_not_mend_is_not_fetched_anew_each_time(
    hosted: Fleet, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.commit("a: 1")
    mirror = hosted.mirror(over_https(host))
    mirror.fetch(NOW)

    def fetches_of_a_read_that_fails() -> list[str]:
        with pytest.raises(Problem):
            mirror.read("ab" * 20)
        before = len(host.asked)
        mirror.fetch(NOW)
        return host.asked[before:]

    whole = fetches_of_a_read_that_fails()
    assert len(fetches_of_a_read_that_fails()) < len(whole)
    monkeypatch.setattr(mirrors, "ANEW_REST_S", 0)
    assert len(fetches_of_a_read_that_fails()) == len(whole)


def test_a_host_that_is_away_leaves_the_mirror_in_place(hosted: Fleet, host: GitHost) -> None:
    head = hosted.commit("a: 1")
    mirror = hosted.mirror(over_https(host))
    mirror.fetch(NOW)
    with pytest.raises(Problem):
        mirror.read("ab" * 20)
    hosted.folder.rename(hosted.folder.with_name("away"))
    assert "no repository" in failure(mirror).what
    assert mirror.read(head) == {"a.yaml": b"a: 1"}


def test_what_is_fetched_is_one_pack_and_on_the_disk_at_once(hosted: Fleet) -> None:
    hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    assert not list(mirror.path.glob("objects/??/*"))
    assert len(list(mirror.path.glob("objects/pack/*.pack"))) == 1
    settings = fetch_environment(mirror.remote, mirror.path)
    assert (
        dict(zip(settings.values(), list(settings.values())[1:], strict=False))["core.fsync"]
        == "all"
    )
