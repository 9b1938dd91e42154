"""`towline org`, and the `[[repository]]` of towline.toml that it writes."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.test_serve import asked
from towline.cli import fleet_settings, main, settings
from towline.cli.client import connect
from towline.cli.exit_codes import ExitCode
from towline.manifests.remote import Remote
from towline.reconciler.server.serve import ServeSettings
from towline.schemas.problems import Problem

__all__ = ["asked"]

TWO = """organization = "acme"

[[repository]]
organization = "beta"
folder = "../beta"

[[repository]]
organization = "gamma"
url = "https://git.example.com/gamma.git"
password_file = "secrets/gamma"
branch = "live"
path = "fleet"
online_key = "keys/gamma.pem"
timeout = 9
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "towline.toml"
    file.write_text(text, encoding="utf-8")
    return file


def beside(fleet: Path, name: str) -> Path:
    """A fleet repository of another organization."""
    folder = fleet.parent / name
    (folder / "trust" / "root").mkdir(parents=True)
    (folder / "trust" / "root" / "1.json").write_text("{}", encoding="utf-8")
    return folder


def test_each_entry_is_an_organization_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, f'branch = "trunk"\npath = "own"\n{TWO}')
    here = settings.load(tmp_path, environment={})
    beta, gamma = fleet_settings.load_others(here, tmp_path)
    assert (here.organization, here.branch, here.path) == ("acme", "trunk", "own")
    assert (beta.organization, beta.branch, beta.path, beta.remote) == ("beta", "main", "", None)
    assert beta.repository == tmp_path / "../beta"
    assert beta.online_key == tmp_path / "../beta/.towline/keys/online.pem"
    assert (gamma.branch, gamma.path) == ("live", "fleet")
    assert gamma.online_key == tmp_path / "keys/gamma.pem"
    assert gamma.remote == Remote(
        "https://git.example.com/gamma.git",
        password_file=tmp_path / "secrets/gamma",
        timeout_s=9,
    )


def test_a_password_of_the_environment_is_of_the_own_repository_alone(tmp_path: Path) -> None:
    write(tmp_path, TWO)
    here = settings.load(tmp_path, environment={"TOWLINE_REPOSITORY_PASSWORD": "s3cret"})
    _, gamma = fleet_settings.load_others(here, tmp_path)
    assert gamma.remote is not None
    assert gamma.remote.password == ""


@pytest.mark.parametrize(
    ("entry", "what", "remedy"),
    [
        ('organization = "b"', "says whose it is and where it is", "either folder or url"),
        ('folder = "b"', "says whose it is and where it is", "write organization"),
        ('organization = "b"\nfolder = "b"\nurl = "https://h/b"', "says whose", "folder or url"),
        ('organization = "B b"\nfolder = "b"', "'B b' is no id", ""),
        ('organization = "b"\nfoldr = "b"', "there is no setting foldr", "did you mean folder?"),
        ('organization = "b"\nfolder = "b"\npassword = "x"', "no setting password", ""),
        ('organization = "b"\nurl = "https://a:b@h/f"', "holds a user or a password", ""),
        ('organization = "beta"\nfolder = "c"', "beta has two repositories", ""),
    ],
)
def test_what_is_wrong_in_an_entry_is_refused_with_its_line(
    tmp_path: Path, entry: str, what: str, remedy: str
) -> None:
    file = write(
        tmp_path,
        f'[[repository]]\norganization = "beta"\nfolder = "b"\n\n[[repository]]\n{entry}\n',
    )
    here = settings.load(tmp_path, environment={})
    with pytest.raises(Problem, match=re.escape(what)) as caught:
        fleet_settings.load_others(here, tmp_path)
    assert remedy in caught.value.remedy
    assert str(caught.value).startswith(f"{file}:5: ")


def test_serve_gets_all_of_them(asked: list[ServeSettings], fleet: Path) -> None:
    write(fleet, TWO)
    assert main.run(["serve", "--repo", str(fleet), "--branch", "next"]) == ExitCode.OK
    assert [each.organization for each in asked[0].fleets] == ["acme", "beta", "gamma"]
    assert [each.branch for each in asked[0].fleets] == ["next", "main", "live"]
    files = [asked[0].token_file(name).name for name in ("acme", "beta")]
    assert files == ["admin-acme.token", "admin-beta.token"]


def test_entries_alone_need_no_working_copy_here(
    asked: list[ServeSettings], tmp_path: Path
) -> None:
    write(tmp_path, TWO.replace('organization = "acme"', "", 1))
    assert main.run(["serve"]) == ExitCode.OK
    assert [each.organization for each in asked[0].fleets] == ["beta", "gamma"]


def test_an_organization_is_added_and_listed(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside(fleet, "beta")
    monkeypatch.chdir(fleet)
    before = (fleet / "towline.toml").read_text(encoding="utf-8")
    assert main.run(["org", "create", "beta", "../beta"]) == ExitCode.OK
    gamma = ["org", "create", "gamma", "https://git.example.com/gamma.git", "--path", "fleet"]
    assert main.run([*gamma, "--branch", "live", "--online-key", "g.pem"]) == ExitCode.OK
    assert (fleet / "towline.toml").read_text(encoding="utf-8") == before.rstrip() + (
        '\n\n[[repository]]\norganization = "beta"\nfolder = "../beta"\n'
        '\n[[repository]]\norganization = "gamma"\nurl = "https://git.example.com/gamma.git"\n'
        'path = "fleet"\nbranch = "live"\nonline_key = "g.pem"\n'
    )
    capsys.readouterr()
    assert main.run(["org", "list", "-o", "json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "OrganizationList"
    assert [each["organization"] for each in document["items"]] == ["acme", "beta", "gamma"]
    assert [each["branch"] for each in document["items"]] == ["main", "main", "live"]
    assert main.run(["org", "list"]) == ExitCode.OK
    assert "https://git.example.com/gamma.git" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "repository", "said"),
    [
        ("acme", "../beta", "acme is served already"),
        ("Beta!", "../beta", "is no id"),
        ("beta", "../nothing", "towline init ../nothing --organization beta"),
        ("beta", "https://ada:s3cret@h/f", "holds a user or a password"),
    ],
)
def test_what_cannot_be_served_changes_nothing(
    fleet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    repository: str,
    said: str,
) -> None:
    beside(fleet, "beta")
    monkeypatch.chdir(fleet)
    before = (fleet / "towline.toml").read_bytes()
    assert main.run(["org", "create", name, repository]) == ExitCode.ERROR
    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error
    assert (fleet / "towline.toml").read_bytes() == before


def test_a_table_of_one_repository_is_to_be_rewritten_first(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(fleet, 'organization = "acme"\n\n[repository]\nurl = "https://h/f"\n')
    monkeypatch.chdir(fleet)
    assert main.run(["org", "create", "beta", "https://h/b"]) == ExitCode.ERROR
    assert 'write it as [[repository]] with organization = "acme"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("organization", "file"), [("beta", "admin-beta.token"), ("acme", "admin.token")]
)
def test_a_command_speaks_with_the_token_of_the_organization_that_is_named(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, organization: str, file: str
) -> None:
    data = fleet / ".towline" / "data"
    data.mkdir()
    for name in ("admin.token", "admin-beta.token"):
        (data / name).write_text(f"tow_{name}\n", encoding="ascii")
    (data / "tls.crt").write_text("", encoding="ascii")
    found = settings.load(fleet, environment={"TOWLINE_ORGANIZATION": organization})
    sent = connect(found)._session.headers["Authorization"]
    assert sent == f"Bearer tow_{file}"
