"""`towline trust`: drafts, signatures, the chain; what is refused leaves everything as it was."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import everything
from tests.cli.production import PASSPHRASE, Production
from towline.cli import main, root_drafts
from towline.cli.roots import read_chain
from towline.schemas.keys import PrivateKey, is_encrypted
from towline.schemas.problems import Problem

Said = pytest.CaptureFixture[str]


@pytest.fixture
def said(capsys: Said) -> Said:
    return capsys


def test_the_first_root_names_three_keys_of_which_two_must_sign(acme: Production) -> None:
    root = acme.newest
    assert (root.version, root.organization, root.is_development) == (1, "acme", False)
    assert (len(root.root.keys), root.root.threshold) == (3, 2)
    names = [f"root-{n}" for n in (1, 2, 3)] + ["release", "online"]
    keys = [PrivateKey.load(acme.keys / f"{name}.pem").public for name in names]
    assert keys == [*root.root.keys, *root.release.keys, *root.online.keys]
    assert {f.stat().st_mode & 0o777 for f in acme.keys.glob("*.pem")} == {0o600}
    assert acme.git("status", "--porcelain") == ""


def test_a_rotation_is_signed_published_and_followed(acme: Production, said: Said) -> None:
    online = acme.keys / "online-2.pem"
    assert acme.run("trust", "rotate", "online", "--new", str(online)) == 0
    assert acme.newest.version == 1, "a draft is no root"
    assert acme.sign("root-2", "root-3") == 0
    assert acme.run("trust", "publish") == 0
    assert acme.newest.version == 2
    assert acme.newest.online.keys == (PrivateKey.load(online).public,)
    assert root_drafts.find(acme.fleet) is None
    assert acme.git("log", "-1", "--format=%s") == "Publish root 2 of acme"
    assert acme.git("status", "--porcelain") == ""
    said.readouterr()
    assert acme.run("trust", "show", "-o", "json") == 0
    shown = json.loads(said.readouterr().out)
    assert shown["version"] == 2
    assert shown["roles"]["online"]["keyids"] == [key.keyid for key in acme.newest.online.keys]


@pytest.mark.parametrize("of", ["online", "release", "root"])
@pytest.mark.parametrize("place", ["keys/new.pem", "there.pem"])
def test_no_private_key_is_taken_from_where_it_would_be_committed(
    acme: Production, said: Said, of: str, place: str
) -> None:
    (acme.fleet / "there.pem").write_bytes(PrivateKey.generate().pem(None))
    before = everything(acme.fleet)
    assert acme.run("trust", "rotate", of, "--new", place) == 1
    words = said.readouterr().err
    assert f"{place} lies in the repository" in words
    assert f"--new {acme.fleet.parent.resolve() / 'keys'}" in words
    assert everything(acme.fleet) == before


def test_a_rotation_that_is_refused_leaves_no_key(acme: Production) -> None:
    before = everything(acme.base)
    for of in ("release", "root"):
        rotate = ("--new", acme.key("new"), "--no-passphrase", "--threshold", "9")
        assert acme.run("trust", "rotate", of, *rotate) == 1
    assert acme.run("trust", "rotate", "online") == 1
    assert everything(acme.base) == before


def test_with_too_few_signatures_nothing_is_published(acme: Production, said: Said) -> None:
    acme.run("trust", "bump")
    acme.sign("root-1")
    acme.sign("root-1")
    before = everything(acme.fleet)
    assert acme.run("trust", "publish") == 1
    assert "keys of root 1: 1 of 2 signatures, 1 more" in said.readouterr().err
    assert everything(acme.fleet) == before


def test_copies_signed_apart_are_laid_together(acme: Production, tmp_path: Path) -> None:
    """Each holder of a key needs the draft's file alone, and no repository."""
    acme.run("trust", "bump", "--expires", "700d")
    draft = root_drafts.draft_file(acme.fleet, 2)
    copies = [tmp_path / "usb" / "a.json", tmp_path / "usb" / "b.json"]
    copies[0].parent.mkdir()
    for copy, name in zip(copies, ("root-1", "root-3"), strict=True):
        shutil.copy(draft, copy)
        assert main.run(["trust", "sign", str(copy), "--key", acme.key(name)]) == 0
    assert acme.run("trust", "publish", str(copies[0])) == 1
    assert acme.run("trust", "publish", *map(str, copies)) == 0
    assert acme.newest.version == 2


def test_a_copy_that_says_something_else_is_not_laid_to_it(
    acme: Production, tmp_path: Path, said: Said
) -> None:
    acme.run("trust", "bump", "--expires", "700d")
    shutil.copy(root_drafts.draft_file(acme.fleet, 2), tmp_path / "copy.json")
    acme.run("trust", "bump", "--expires", "900d")
    assert acme.run("trust", "publish", str(tmp_path / "copy.json")) == 1
    assert "it is not a copy of" in said.readouterr().err


def test_a_key_of_no_root_signs_nothing(acme: Production, said: Said) -> None:
    acme.run("trust", "bump")
    draft = root_drafts.draft_file(acme.fleet, 2)
    before = draft.read_bytes()
    assert acme.sign("online") == 1
    assert "nobody would count this one" in said.readouterr().err
    assert draft.read_bytes() == before


def test_old_and_new_root_keys_sign_the_root_that_changes_them(acme: Production) -> None:
    gone, *_, new = *acme.newest.root.keys, acme.keys / "root-4.pem"
    rotate = ("--remove", gone.keyid[:8], "--new", str(new), "--no-passphrase", "--threshold", "3")
    assert acme.run("trust", "rotate", "root", *rotate) == 0
    assert acme.sign("root-1", "root-2") == 0
    assert acme.run("trust", "publish") == 1, "enough for root 1, and not for root 2"
    assert acme.sign("root-3", "root-4") == 0
    assert acme.run("trust", "publish") == 0
    assert gone not in acme.newest.root.keys
    assert acme.newest.root.threshold == 3


def test_several_changes_make_one_root(acme: Production, said: Said) -> None:
    acme.run("trust", "rotate", "online", "--new", acme.key("online-2"))
    acme.sign("root-1", "root-2")
    acme.run("trust", "rotate", "root", "--threshold", "1")
    assert "it is signed anew" in said.readouterr().err
    draft = root_drafts.find(acme.fleet)
    assert draft is not None
    assert draft.sealed.signatures == ()
    assert draft.root.online != acme.newest.online
    assert (draft.root.version, draft.root.root.threshold) == (2, 1)


def test_a_release_key_may_not_come_before_it_vouches(acme: Production, said: Said) -> None:
    new = acme.key("release-2")
    acme.run("trust", "rotate", "release", "--new", new, "--no-passphrase")
    acme.sign("root-1", "root-2")
    assert acme.run("trust", "publish") == 1
    assert "root 2 does not vouch for what manifests name now" in said.readouterr().err
    assert acme.run("release", "resign", "--all-live", "--key", new) == 0
    assert acme.run("trust", "publish") == 0
    assert acme.git("show", "--name-only", "--format=").split() == [
        "releases/hello/1.0.0/hello-1.0.0.tar.gz.json",
        "trust/root/2.json",
    ]
    assert acme.run("trust", "verify") == 0


def test_throw_away_keys_hand_over(fleet: Path, tmp_path: Path, said: Said) -> None:
    acme = Production(fleet.parent)
    assert acme.run("trust", "init", "--keys", "../keys") == 1
    assert "--afresh to begin anew" in said.readouterr().err
    init = ("trust", "init", "--keys", "../keys", "--no-passphrase", "--hand-over")
    assert acme.run(*init, "--root-keys", "1", "--threshold", "1") == 0
    assert acme.sign("root-1") == 0
    assert acme.run("trust", "publish") == 0
    first, second = read_chain(fleet, "acme").roots
    assert (first.is_development, second.is_development) == (True, False)
    assert acme.run(*init) == 1
    assert "has keys for production already" in said.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--keys", "keys", "--afresh"), "keys must never be committed"),
        (("--keys", "../keys", "--afresh", "--threshold", "4"), "4 root keys would have to sign"),
        (("--keys", "../keys", "--afresh"), "there is no terminal to ask at"),
    ],
)
def test_an_init_that_is_refused_leaves_no_key(
    arguments: tuple[str, ...], words: str, fleet: Path, said: Said
) -> None:
    before = everything(fleet.parent)
    more = ("--no-passphrase",) if "terminal" not in words else ()
    assert Production(fleet.parent).run("trust", "init", *arguments, *more) == 1
    assert words in said.readouterr().err
    assert everything(fleet.parent) == before


def test_offline_keys_are_encrypted_unless_somebody_says_no(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    acme = Production(fleet.parent)
    (tmp_path / "secret").write_text("too short\n", encoding="utf-8")
    monkeypatch.setenv("TOWLINE_KEY_PASSPHRASE_FILE", str(tmp_path / "secret"))
    assert acme.run("trust", "init", "--keys", "../keys", "--afresh") == 1
    assert "less than 12 characters" in said.readouterr().err
    (tmp_path / "secret").write_text(f"{PASSPHRASE}\n", encoding="utf-8")
    assert acme.run("trust", "init", "--keys", "../keys", "--afresh") == 0
    encrypted = {f.name: is_encrypted(f.read_bytes()) for f in acme.keys.glob("*.pem")}
    assert encrypted.pop("online.pem") is False
    assert set(encrypted.values()) == {True}
    assert acme.sign("root-1") == 0
    monkeypatch.delenv("TOWLINE_KEY_PASSPHRASE_FILE")
    monkeypatch.setenv("TOWLINE_KEY_PASSPHRASE", "another one of words")
    assert acme.sign("root-2") == 1
    assert f"this is not the passphrase of the key {acme.key('root-2')}" in said.readouterr().err


def test_a_draft_that_others_overtook_is_refused(acme: Production, said: Said) -> None:
    acme.run("trust", "bump")
    old = root_drafts.draft_file(acme.fleet, 2).read_bytes()
    acme.sign("root-1", "root-2")
    acme.run("trust", "publish")
    root_drafts.draft_file(acme.fleet, 2).write_bytes(old)
    for command in (("publish",), ("bump",), ("sign", "--key", acme.key("root-1"))):
        assert acme.run("trust", *command) == 1
        assert "the draft of root 2, and the newest root is 2" in said.readouterr().err


def test_two_drafts_are_one_too_many(acme: Production) -> None:
    acme.run("trust", "bump")
    draft = root_drafts.draft_file(acme.fleet, 2)
    shutil.copy(draft, root_drafts.draft_file(acme.fleet, 3))
    with pytest.raises(Problem, match=r"2 drafts: 2\.draft\.json, 3\.draft\.json"):
        root_drafts.find(acme.fleet)
