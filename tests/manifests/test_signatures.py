"""Signatures of commits, made by git and ssh-keygen themselves."""

import subprocess
from pathlib import Path

import pytest

from tests.manifests.signing import Signer
from towline.manifests.repository import Repository
from towline.manifests.signatures import why_refused
from towline.schemas.problems import Problem

NOBODY = "it is signed by none of those who may"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Signer]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: Signer.make(folder, name) for name in ("ada", "eve")}


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    return folder


def allowed(folder: Path, *lines: str) -> Path:
    file = folder / "signers"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def test_only_a_commit_that_one_who_may_has_signed_counts(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    ada, eve = people["ada"], people["eve"]
    repository = Repository(fleet, allowed_signers=allowed(tmp_path, f"ada@acme {ada.public}"))
    assert repository.why_unsigned(ada.commit(fleet)) == ""
    assert repository.why_unsigned(eve.commit(fleet)) == NOBODY
    assert repository.why_unsigned(ada.commit(fleet, is_signed=False)) == "it is not signed"
    assert Repository(fleet).why_unsigned(ada.commit(fleet, is_signed=False)) == ""


def raw(fleet: Path, sha: str) -> bytes:
    command = ["git", "-C", str(fleet), "cat-file", "commit", sha]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_what_was_changed_afterwards_does_not_count(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    signers = allowed(tmp_path, f"ada@acme {people['ada'].public}")
    signed = raw(fleet, people["ada"].commit(fleet))
    assert why_refused(signed, signers) == ""
    assert why_refused(signed.replace(b"a change", b"A change"), signers) == NOBODY
    other = raw(fleet, people["ada"].commit(fleet, is_signed=False))
    tree, signature = other.split(b"\n", 1)[0], signed[signed.index(b"gpgsig") :]
    assert why_refused(tree + b"\n" + signature, signers) == NOBODY


def test_a_signature_of_another_kind_does_not_count(tmp_path: Path) -> None:
    commit = b"tree 0\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\nwords\n"
    assert (
        why_refused(commit, allowed(tmp_path)) == "it is signed by a key of another kind than ssh"
    )


def test_words_of_the_message_are_no_signature(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    signers = allowed(tmp_path, f"ada@acme {people['ada'].public}")
    signed = raw(fleet, people["ada"].commit(fleet))
    signature = signed[signed.index(b"gpgsig") : signed.index(b"\n\n")]
    assert why_refused(b"tree 0\n\n" + signature, signers) == "it is not signed"


def test_a_key_that_has_expired_does_not_count_though_the_commit_is_dated_back(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    ada = people["ada"]
    until = allowed(tmp_path, f'ada@acme valid-before="20200101" {ada.public}')
    sha = ada.commit(fleet, date="2019-06-01T12:00:00Z")
    # What git itself says of it is why it is not asked.
    command = ["git", "-c", f"gpg.ssh.allowedSignersFile={until}", "verify-commit", sha]
    assert subprocess.run(command, cwd=fleet, check=False, capture_output=True).returncode == 0
    assert why_refused(raw(fleet, sha), until) == NOBODY


def test_a_key_for_files_is_none_for_commits(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    ada = people["ada"]
    sha = ada.commit(fleet)
    for_files = allowed(tmp_path, f'ada@acme namespaces="file" {ada.public}')
    assert why_refused(raw(fleet, sha), for_files) == NOBODY
    for_git = allowed(tmp_path, f'ada@acme namespaces="git" {ada.public}')
    assert why_refused(raw(fleet, sha), for_git) == ""


def test_without_ssh_keygen_it_is_a_problem_and_not_a_refusal(
    fleet: Path, tmp_path: Path, people: dict[str, Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = raw(fleet, people["ada"].commit(fleet))
    signers = allowed(tmp_path, f"ada@acme {people['ada'].public}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="ssh-keygen, which looks at signatures") as problem:
        why_refused(signed, signers)
    assert "install OpenSSH" in str(problem.value.remedy)


def test_without_the_file_it_is_a_problem_and_not_a_refusal(
    fleet: Path, tmp_path: Path, people: dict[str, Signer]
) -> None:
    signed = raw(fleet, people["ada"].commit(fleet))
    with pytest.raises(Problem, match="cannot be read: No such file"):
        why_refused(signed, tmp_path / "gone")
