"""`towline release resign|inspect`: whose word goes on under new keys, and what never does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.production import Production
from tests.schemas.documents import EVIL_KEY
from towline.cli.signing import read
from towline.schemas.problems import Problem

Said = pytest.CaptureFixture[str]


def rotate(acme: Production) -> str:
    """The draft of a root with another release key; returns that key."""
    new = acme.key("release-2")
    acme.run("trust", "rotate", "release", "--new", new, "--no-passphrase")
    acme.sign("root-1", "root-2")
    return new


def test_the_word_stays_and_the_signature_is_the_new_key_s(acme: Production, capsys: Said) -> None:
    before = read(acme.statement, acme.newest)
    new = rotate(acme)
    assert acme.run("release", "resign", "--all", "--key", new) == 0
    assert "its file measured again" in capsys.readouterr().err
    acme.run("trust", "publish")
    assert read(acme.statement, acme.newest) == before
    assert acme.run("release", "resign", "--all", "--key", new) == 0
    assert "unchanged" in capsys.readouterr().err


def test_a_raised_index_is_signed_and_never_lowered(acme: Production, capsys: Said) -> None:
    key = ("--key", acme.key("release"))
    assert acme.run("release", "resign", str(acme.statement), "--rollback-index", "4", *key) == 0
    assert read(acme.statement, acme.newest).rollback_index == 4
    assert acme.run("release", "resign", str(acme.statement), "--rollback-index", "3", *key) == 1
    assert "only ever rises" in capsys.readouterr().err


def test_what_nobody_ever_vouched_for_is_not_renewed(acme: Production, capsys: Said) -> None:
    """Somebody laid it there in the hope that the next rotation signs it."""
    word = replace(read(acme.statement, acme.newest), version="6.6.6")
    forged = acme.fleet / "releases/hello/6.6.6/hello-1.0.0.tar.gz.json"
    forged.parent.mkdir()
    forged.write_bytes(word.sign(EVIL_KEY).to_bytes())
    new = rotate(acme)
    before = acme.statement.read_bytes()
    assert acme.run("release", "resign", "--all", "--key", new) == 1
    assert "no root of this repository ever vouched for it" in capsys.readouterr().err
    assert acme.statement.read_bytes() == before, "all or nothing"


def test_a_package_file_that_is_another_one_stops_it(acme: Production, capsys: Said) -> None:
    new = rotate(acme)
    (acme.fleet / "packages/hello-1.0.0.tar.gz").write_bytes(b"another")
    assert acme.run("release", "resign", "--all-live", "--key", new) == 1
    assert "it is not what was signed" in capsys.readouterr().err


def test_a_retired_key_renews_nothing(acme: Production, capsys: Said) -> None:
    rotate(acme)
    assert acme.run("release", "resign", "--all-live", "--key", acme.key("release")) == 1
    assert "is no release key: root 2 names" in capsys.readouterr().err


def test_it_must_be_said_which(acme: Production, capsys: Said) -> None:
    assert acme.run("release", "resign") == 1
    assert acme.run("release", "resign", "--all", "--all-live") == 1
    assert "name the statements" in capsys.readouterr().err


def test_inspect_shows_a_package_and_who_vouches(acme: Production, capsys: Said) -> None:
    package = acme.fleet / "packages/hello-1.0.0.tar.gz"
    assert acme.run("release", "inspect", str(package), "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    word = read(acme.statement, acme.newest)
    assert (found["kind"], found["names"]) == ("Package", ["install.sh"])
    assert (found["size"], found["files"], found["contentSha256"]) == (
        word.size,
        word.files,
        word.content_sha256,
    )
    assert "hello 1.0.0, by" in found["statements"][0]


def test_inspect_believes_no_statement(acme: Production, capsys: Said) -> None:
    word = read(acme.statement, acme.newest)
    acme.statement.write_bytes(word.sign(EVIL_KEY).to_bytes())
    assert acme.run("release", "inspect", str(acme.statement), "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["vouchedFor"] == "by no root up to 1"
    assert found["signedBy"] == [EVIL_KEY.public.keyid[:12]]


def test_a_statement_of_a_retired_key_is_told_so(acme: Production, capsys: Said) -> None:
    rotate(acme)
    old = acme.statement.read_bytes()
    acme.run("release", "resign", "--all", "--key", acme.key("release-2"))
    acme.run("trust", "publish")
    acme.statement.write_bytes(old)
    capsys.readouterr()
    assert acme.run("release", "inspect", str(acme.statement)) == 0
    assert "of root 1, and not by root 2" in capsys.readouterr().out
    with pytest.raises(Problem, match="not signed by the release keys of root 2"):
        read(acme.statement, acme.newest)


@pytest.mark.parametrize("data", [b"{}", b"no json"])
def test_inspect_of_something_else_is_a_problem(
    data: bytes, tmp_path: Path, acme: Production
) -> None:
    (tmp_path / "x.json").write_bytes(data)
    assert acme.run("release", "inspect", str(tmp_path / "x.json")) == 1
    (tmp_path / "x.tar.gz").write_bytes(data)
    assert acme.run("release", "inspect", str(tmp_path / "x.tar.gz")) == 1
