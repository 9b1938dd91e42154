"""Which repository `towline serve` follows: a folder, a URL given, or a URL configured."""

from pathlib import Path

import pytest

from towline.cli.main import run
from towline.manifests.remote import Remote
from towline.reconciler.server import serve as server
from towline.reconciler.server.serve import ServeSettings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ServeSettings]:
    """What the server is asked to serve; commands run in an empty folder."""
    found: list[ServeSettings] = []
    monkeypatch.setattr(server, "serve", lambda settings, announce: found.append(settings))
    monkeypatch.chdir(tmp_path)
    for name in ("TOWLINE_ORGANIZATION", "TOWLINE_REPOSITORY_URL"):
        monkeypatch.delenv(name, raising=False)
    return found


def test_a_url_needs_no_fleet_repository_here(
    asked: list[ServeSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOWLINE_ORGANIZATION", "acme")
    monkeypatch.setenv("TOWLINE_REPOSITORY_PASSWORD", "s3cret")
    arguments = ["serve", "--repo", "https://git.example.com/fleet", "--path", "eu"]
    assert run(arguments) == 0
    (settings,) = asked
    remote = Remote("https://git.example.com/fleet", password="s3cret")
    assert (settings.repository, settings.path, settings.organization) == (remote, "eu", "acme")
    assert settings.data == tmp_path / ".towline/data"


def test_a_url_given_wins_over_the_one_configured(
    asked: list[ServeSettings], tmp_path: Path
) -> None:
    (tmp_path / "towline.toml").write_text(
        'organization = "acme"\nrepository.url = "https://git.example.com/fleet"\n'
    )
    assert run(["serve"]) == 0
    assert run(["serve", "--repo", "git@git.example.com:fleet"]) == 0
    urls = [each.repository.url for each in asked if isinstance(each.repository, Remote)]
    assert urls == ["https://git.example.com/fleet", "git@git.example.com:fleet"]


def test_a_folder_is_followed_as_it_is(asked: list[ServeSettings], tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    (fleet / "towline.toml").write_text('organization = "acme"\n')
    assert run(["serve", "--repo", "fleet"]) == 0
    assert asked[0].repository == fleet


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://git.example.com/fleet", "TOWLINE_ORGANIZATION"),
        ("https://ada:s3cret@git.example.com/fleet", "repository.password_file"),
        ("http://git.example.com/fleet", "https:// or ssh://"),
    ],
)
def test_what_is_missing_or_refused_is_told_with_its_remedy(
    asked: list[ServeSettings], capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    assert run(["serve", "--repo", url]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "s3cret" not in error
    assert not asked
