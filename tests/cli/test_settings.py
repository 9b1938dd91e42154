"""towline.toml and TOWLINE_*: what is read, what wins, what is refused, and that docs say so."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from towline.cli import settings
from towline.cli.exit_codes import ExitCode
from towline.cli.settings import Settings
from towline.manifests.remote import Remote
from towline.schemas.problems import Problem

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def write(folder: Path, text: str) -> Path:
    file = folder / "towline.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_file_is_found_above_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, 'organization = "acme"\npath = "fleet"\npackages = "out"\npoll_interval = 7\n')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = settings.load(deep, environment={})
    assert found.organization == "acme"
    assert found.repository == tmp_path
    assert found.fleet == tmp_path / "fleet"
    assert found.packages == tmp_path / "out"
    assert found.online_key == tmp_path / ".towline/keys/online.pem"
    assert found.poll_interval == 7
    assert found.tls_cert is None


def test_the_environment_wins_and_its_paths_are_relative_to_the_current_folder(
    tmp_path: Path,
) -> None:
    write(tmp_path, 'organization = "acme"\nserver = "https://a"\ngit_interval = 3\n')
    here = tmp_path / "here"
    here.mkdir()
    environment = {
        "TOWLINE_SERVER": "https://b",
        "TOWLINE_TOKEN": "tow_1_x",
        "TOWLINE_DATA": "db",
        "TOWLINE_GIT_INTERVAL": "9",
        "TOWLINE_COMPONENT": "is no setting",
    }
    found = settings.load(here, environment=environment)
    assert (found.server, found.token, found.data) == ("https://b", "tow_1_x", here / "db")
    assert found.git_interval == 9


def test_without_a_file_the_defaults_hold_but_there_is_no_fleet(tmp_path: Path) -> None:
    assert settings.load(tmp_path, environment={}).listen == "127.0.0.1:8443"
    with pytest.raises(Problem, match="is not in a fleet repository") as caught:
        settings.load_fleet(tmp_path)
    assert "towline init" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ('zzzzz = "b"\n', "there is no setting zzzzz", "known are organization, "),
        ('\nonlinekey = "k"\n', "there is no setting onlinekey", "did you mean online_key?"),
        ("poll_interval = true\n", "poll_interval must be a whole number", ""),
        ("poll_interval = 0\n", "poll_interval must be a whole number", ""),
        ("branch = 1\n", "branch must be text", "quotes"),
        ('organization = "Acme Inc"\n', "organization 'Acme Inc' is no id", ""),
        ('token = "tow_1_x"\n', "token must not stand in a file that git keeps", "TOWLINE_TOKEN"),
        ("[branch\n", "this is not TOML", ""),
        ('repository_url = "x"\n', "there is no setting repository_url", "repository.url?"),
        ('repository.passwordFile = "x"\n', "no setting repository.passwordFile", "password_file?"),
        ('repository.password = "s"\n', "repository.password must not stand", "_PASSWORD in"),
        ('repository = "https://h/f"\n', "repository is a folder", "repository.url = "),
        ('repository.url = "https://a:b@h/f"\n', "holds a user or a password", "password_file"),
        ('repository.proxy = "http://a:b@h:1"\n', "holds a user or a password", "_PROXY in"),
        ('store = "mysql://h/d"\n', "no URL of a Postgres database", "postgresql://USER@HOST/"),
        ('store = "postgresql://h"\n', "no URL of a Postgres database", "postgresql:///DATABASE"),
        ('store = "postgresql://u:s@h/d"\n', "holds a password", "TOWLINE_STORE in"),
        ('store = "postgresql://h/d?password=s"\n', "holds a password", "passfile"),
    ],
)
def test_what_is_wrong_is_refused_with_its_remedy(
    tmp_path: Path, text: str, what: str, remedy: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(Problem, match=re.escape(what)) as caught:
        settings.load(tmp_path, environment={})
    assert remedy in caught.value.remedy


def test_an_unknown_key_is_refused_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path, 'branch = "main"\n\nbrunch = "x"\n')
    with pytest.raises(Problem) as caught:
        settings.load(tmp_path, environment={})
    assert str(caught.value).startswith(f"{file}:3: ")


@pytest.mark.parametrize(
    "text",
    [
        'branch = "x"\n\n[repository]\nusername = "ada"\nurl = "http://h/f"\n',
        'branch = "x"\n\n\n\nrepository.url = "http://h/f"\n',
    ],
)
def test_a_key_of_a_table_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(Problem) as caught:
        settings.load(tmp_path, environment={})
    assert str(caught.value).startswith(f"{file}:5: http:// is read and changed by")


def test_a_repository_elsewhere_is_described_in_its_table(tmp_path: Path) -> None:
    write(tmp_path, '[repository]\nurl = "https://h/f"\npassword_file = "token"\ntimeout = 9\n')
    environment = {"TOWLINE_REPOSITORY_PROXY": "http://ada:s3cret@proxy:3128"}
    found = settings.load(tmp_path, environment=environment)
    assert found.repository == tmp_path
    assert found.remote == Remote(
        "https://h/f",
        password_file=tmp_path / "token",
        proxy="http://ada:s3cret@proxy:3128",
        timeout_s=9,
    )
    assert settings.load(tmp_path / "..", environment={}).remote is None


def test_a_number_in_the_environment_that_is_none_is_refused_by_its_variable(
    tmp_path: Path,
) -> None:
    with pytest.raises(Problem, match="whole number") as caught:
        settings.load(tmp_path, environment={"TOWLINE_POLL_INTERVAL": "often"})
    assert str(caught.value).startswith("TOWLINE_POLL_INTERVAL: ")


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for setting, row in zip(fields(Settings), rows, strict=True):
        default = "none" if setting.default in (None, "") else f"`{setting.default}`"
        variable = settings.variable(setting.name)
        assert row.startswith(f"| `{settings.key(setting.name)}` | `{variable}` | {default} | ")


def test_every_exit_code_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == [str(int(code)) for code in ExitCode]


@pytest.mark.parametrize(
    ("proxies", "said"),
    [
        ("10.0.0.5, proxy.example", "'proxy.example' is no address of a proxy"),
        ("10.0.0.1/8", "is no address of a proxy"),
        ("0.0.0.0/0", "0.0.0.0/0 is everybody"),
        ("::/0", "::/0 is everybody"),
    ],
)
def test_a_proxy_that_cannot_be_meant_is_refused(tmp_path: Path, proxies: str, said: str) -> None:
    write(tmp_path, f'trusted_proxies = "{proxies}"\n')
    with pytest.raises(Problem) as caught:
        settings.load(tmp_path, environment={})
    assert said in str(caught.value)


def test_proxies_are_a_list_with_commas(tmp_path: Path) -> None:
    write(tmp_path, 'trusted_proxies = "10.0.0.5, 10.1.0.0/16"\n')
    assert settings.load(tmp_path, environment={}).proxies == ("10.0.0.5", "10.1.0.0/16")
    assert settings.load(tmp_path.parent, environment={}).proxies == ()
