"""`towline trust verify`: each thing that a pull request may do to trust, found by its words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.production import Production
from tests.schemas.documents import EVIL_KEY
from towline.schemas import envelope, statement
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role
from towline.schemas.statement import Statement


def word_of(acme: Production) -> Statement:
    sealed = envelope.parse(acme.statement.read_bytes())
    return statement.verify(sealed, acme.newest.release)


def sign_again(acme: Production, **changes: object) -> None:
    """By the true release key, another word."""
    word = word_of(acme)
    for name, value in changes.items():
        object.__setattr__(word, name, value)
    key = PrivateKey.load(acme.keys / "release.pem")
    acme.statement.write_bytes(word.sign(key).to_bytes())


def forge(acme: Production) -> None:
    acme.statement.write_bytes(word_of(acme).sign(EVIL_KEY).to_bytes())


def edit_manifest(acme: Production, old: str, new: str) -> None:
    manifest = acme.fleet / "deployments/hello.yaml"
    text = manifest.read_text(encoding="utf-8")
    assert old in text
    manifest.write_text(text.replace(old, new), encoding="utf-8")


def swap_byte(acme: Production) -> None:
    package = acme.fleet / "packages/hello-1.0.0.tar.gz"
    data = bytearray(package.read_bytes())
    data[20] ^= 1
    package.write_bytes(data)


def add_root_3(acme: Production) -> None:
    shutil.copy(acme.fleet / "trust/root/1.json", acme.fleet / "trust/root/3.json")


def misplace(acme: Production) -> None:
    target = acme.fleet / "releases/hello/9.9.9"
    target.mkdir()
    shutil.copy(acme.statement, target)


def replace_root_1(acme: Production) -> None:
    """A whole chain of somebody else, sound in itself."""
    forge(acme)
    mine = Role((EVIL_KEY.public,), 1)
    root = acme.newest
    for name in ("root", "release", "online"):
        object.__setattr__(root, name, mine)
    (acme.fleet / "trust/root/1.json").write_bytes(root.sign(EVIL_KEY))


BREAKS: list[tuple[Callable[[Production], object], str]] = [
    (lambda acme: acme.statement.unlink(), "hello-1.0.0.tar.gz.json is missing"),
    (forge, "is not to be trusted: threshold"),
    (lambda acme: sign_again(acme, sha256="0" * 64), "the statement is for checksum"),
    (lambda acme: sign_again(acme, version="1.0.1"), "the statement is for version 1.0.1"),
    (lambda acme: sign_again(acme, organization="evil"), "the statement is for organization evil"),
    (lambda acme: sign_again(acme, size=7), "bytes, signed are 7"),
    (swap_byte, "signed is"),
    (lambda acme: edit_manifest(acme, '"1.0.0"', '"1.0.2"'), "hello/1.0.2/"),
    (lambda acme: edit_manifest(acme, "checksum", "cheksum"), "towline validate tells them"),
    (add_root_3, "trust/root/3.json: no 2.json comes before it"),
    (misplace, "releases/hello/9.9.9/hello-1.0.0.tar.gz.json is about hello 1.0.0"),
    (replace_root_1, "trust/root/1.json is another one than at HEAD"),
    (lambda acme: (acme.fleet / "trust/root/1.json").unlink(), "1.json is missing"),
]


@pytest.mark.parametrize(("breaks", "words"), BREAKS, ids=[words[:30] for _, words in BREAKS])
def test_what_is_wrong_is_told_and_ends_with_1(
    breaks: Callable[[Production], object],
    words: str,
    acme: Production,
    capsys: pytest.CaptureFixture[str],
) -> None:
    breaks(acme)
    assert acme.run("trust", "verify", "--base", "HEAD") == 1
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_what_is_right_is_counted(acme: Production, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(acme.fleet / "packages")
    assert acme.run("trust", "verify", "--base", "HEAD", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["roots"], found["packages"]) == (True, 1, 1)
    assert found["errors"] == found["warnings"] == []


def test_a_root_that_is_taken_away_is_found(
    acme: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    acme.run("trust", "bump")
    acme.sign("root-1", "root-2")
    acme.run("trust", "publish")
    (acme.fleet / "trust/root/2.json").unlink()
    assert acme.run("trust", "verify") == 0, "a chain of one is a chain"
    assert acme.run("trust", "verify", "--base", "HEAD") == 1
    assert "2.json is missing, which is there at HEAD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expires", "code", "words"),
    [
        ("89d", 0, "warning: root 2 expires in 8"),
        ("91d", 0, "0 warnings"),
        ("0d", 1, "error: root 2 expired"),
    ],
)
def test_the_end_of_a_root_is_told_ahead(
    expires: str, code: int, words: str, acme: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    acme.run("trust", "bump", "--expires", expires)
    acme.sign("root-1", "root-2")
    acme.run("trust", "publish")
    assert acme.run("trust", "verify") == code
    assert words in capsys.readouterr().out


def test_a_commit_that_is_not_there_is_a_problem(
    acme: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    assert acme.run("trust", "verify", "--base", "origin/main") == 1
    assert "there is no commit origin/main" in capsys.readouterr().err


def test_statements_that_nobody_vouches_for_any_more_are_a_warning(
    acme: Production, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = acme.fleet / "releases/hello/0.9.0/hello-0.9.0.tar.gz.json"
    old.parent.mkdir()
    old.write_bytes(word_of(acme).sign(EVIL_KEY).to_bytes())
    assert acme.run("trust", "verify") == 0
    assert f"warning: releases/hello/0.9.0/{old.name}: root 1 does not vouch" in (
        capsys.readouterr().out
    )
