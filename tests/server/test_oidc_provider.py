"""A provider whose answers are not what they should be: nobody comes in by them, and it is said."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import provider as providers
from tests.server.provider import Provider as Other
from towline.reconciler.server import oidc
from towline.reconciler.server.oidc import Attempt, NotLetIn, Provider, ProviderAway
from towline.reconciler.server.oidc_settings import OidcSettings
from towline.reconciler.store.people import Role
from towline.schemas.problems import Problem

PAGE = "/admin/edge/ota"
ABOUT = "/.well-known/openid-configuration"


@pytest.fixture(scope="module")
def told() -> Iterator[Other]:
    with providers.running() as running:
        yield running


@pytest.fixture
def other(told: Other, monkeypatch: pytest.MonkeyPatch) -> Other:
    """The provider; what a test changes of it is for that test alone."""
    for name, value in vars(told).items():
        monkeypatch.setattr(told, name, value)
    monkeypatch.setattr(told, "asked", [])
    monkeypatch.setitem(told.claims, "groups", ["staff"])
    return told


@pytest.fixture
def ours(other: Other) -> Provider:
    """This server's view of it, before anything was asked."""
    roles = {Role.VIEWER: frozenset({"staff"})}
    return Provider(OidcSettings("acme", other.issuer, "towline", "https://127.0.0.1:1", roles))


def come_in(ours: Provider) -> str:
    """Set out and come back: who it is."""
    attempt = Attempt(PAGE)
    back = httpx.get(ours.address(attempt)).headers["location"]
    return ours.person(attempt, httpx.URL(back).params["code"]).name


def test_who_is_honest_is_let_in(ours: Provider) -> None:
    assert come_in(ours) == "ada@acme.example"


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (ABOUT, None, "is not that of"),
        (ABOUT, [], "is not that of"),
        (ABOUT, {"authorization_endpoint": 5}, "names no"),
        (
            ABOUT,
            {"token_endpoint": "http://evil.example"},
            "no token",
        ),
        (ABOUT, {"jwks_uri": "file:///etc/passwd"}, "no jwks_uri"),
        (ABOUT, {"more": "x" * 2**20}, "more than it should"),
        ("/keys", {"keys": []}, "its keys cannot be read"),
        ("/keys", {"keys": "x"}, "its keys cannot be read"),
    ],
)
def test_what_it_says_of_itself_is_not_believed_blindly(
    other: Other,
    ours: Provider,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    change: Any,
    said: str,
) -> None:
    documents = other.documents()
    documents[path] = documents[path] | change if isinstance(change, dict) else change
    monkeypatch.setattr(other, "documents", lambda: documents)
    with pytest.raises(ProviderAway, match=said):
        come_in(ours)


def test_one_that_answers_otherwise_with_the_right_words_is_another(
    ours: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_call", lambda *_: (500, {"issuer": ours.settings.issuer}))
    with pytest.raises(ProviderAway, match="is not that of"):
        ours.address(Attempt(PAGE))


def test_one_that_is_away_is_said_to_be(ours: Provider) -> None:
    gone = replace(ours.settings, issuer="http://127.0.0.1:1")
    with pytest.raises(ProviderAway, match="does not answer as it should"):
        Provider(gone).address(Attempt(PAGE))


@pytest.mark.parametrize("change", [{"error": "no"}, {"id_token": None}, {"id_token": ["x"]}])
def test_without_a_token_nobody_is_let_in(
    other: Other, ours: Provider, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    right = other.token
    monkeypatch.setattr(other, "token", lambda form: right(form) | change)
    with pytest.raises(NotLetIn, match="gave no ID token"):
        come_in(ours)


def test_a_key_that_it_does_not_name_signs_for_nobody(
    other: Other, ours: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = other.documents()
    documents["/keys"]["keys"][0]["kid"] = "k2"
    monkeypatch.setattr(other, "documents", lambda: documents)
    with pytest.raises(NotLetIn, match="a key that it does not name"):
        come_in(ours)


def test_without_the_clients_secret_the_provider_is_not_asked(
    other: Other, ours: Provider, tmp_path: Path
) -> None:
    secretive = Provider(replace(ours.settings, client_secret_file=tmp_path / "gone"))
    with pytest.raises(ProviderAway, match="secret cannot be read"):
        come_in(secretive)
    assert other.asked == []


def test_without_the_library_the_remedy_is_said(
    ours: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "find_spec", lambda _: None)
    with pytest.raises(Problem, match="a library that is not installed") as problem:
        Provider(ours.settings)
    assert "pip install" in str(problem.value.remedy)
