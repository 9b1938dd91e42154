"""Signing in by an OpenID Connect provider: who is let in, and every lie that is not believed."""

import base64
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.server import provider as providers
from tests.server.provider import Provider
from tests.server.test_serve import client_of, serving, settings
from tests.server.visiting import PAGE
from towline.reconciler.server import oidc, oidc_settings
from towline.reconciler.server.dashboard import provider_door
from towline.reconciler.server.dashboard.provider_door import (
    ATTEMPT_LIFE_S,
    COOKIE,
    ONWARD_LIMIT,
    Attempts,
)
from towline.reconciler.server.oidc import Attempt
from towline.reconciler.server.oidc_settings import OidcSettings
from towline.reconciler.server.serve import ServeSettings
from towline.reconciler.store.people import Role
from towline.schemas.problems import Problem

__all__ = ["settings"]

FILE = """issuer = "{issuer}"
client_id = "towline"
client_secret_file = "secret"
address = "https://127.0.0.1:8443"

[roles]
viewer = ["staff"]
operator = ["on-call"]
"""
DOOR = f"{PAGE}/sign-in/provider"


@pytest.fixture(scope="module")
def told() -> Iterator[Provider]:
    """The provider, for all tests of this file."""
    with providers.running() as running:
        yield running


@pytest.fixture
def provider(told: Provider) -> Provider:
    """The provider, honest again."""
    fresh = Provider(issuer=told.issuer, key=told.key)
    fresh.claims["groups"] = ["staff"]
    vars(told).update(vars(fresh))
    return told


@pytest.fixture
def browser(provider: Provider, settings: ServeSettings, tmp_path: Path) -> Iterator[httpx.Client]:
    """A browser at a server that knows the provider."""
    (tmp_path / "secret").write_text("s3cret\n")
    file = tmp_path / "oidc.toml"
    file.write_text(FILE.format(issuer=provider.issuer))
    knowing = replace(settings, oidc=file)
    with serving(knowing) as lines, client_of(knowing, lines) as client:
        yield client


def set_out(browser: httpx.Client, onward: str = "") -> str:
    """Begin; returns where the provider is."""
    answer = browser.get(DOOR, params={"onward": onward})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def come_back(browser: httpx.Client, at: str) -> httpx.Response:
    """Be at the provider, and come back with what it says."""
    sent = httpx.get(at).headers["location"]
    return browser.get(f"{DOOR}/back?{sent.partition('?')[2]}")


def test_somebody_in_a_group_is_let_in_with_its_role(
    browser: httpx.Client, provider: Provider, settings: ServeSettings
) -> None:
    provider.claims["groups"] = ["staff", "on-call", "others"]
    assert "Sign in by 127.0.0.1" in browser.get(f"{PAGE}/sign-in").text
    answer = come_back(browser, set_out(browser, f"{PAGE}/fleet"))
    assert answer.status_code == 200, answer.text
    assert f'content="0;url={PAGE}/fleet"' in answer.text
    shown = browser.get(f"{PAGE}/fleet").text
    assert "ada@acme.example" in shown
    assert "(operator)" in shown
    token = (settings.data / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    newest = browser.get("/api/v1/admin/ota/audit", headers=headers).json()["acts"][0]
    assert (newest["person"], newest["token"]) == ("ada@acme.example", "oidc")
    assert (newest["role"], newest["action"]) == ("operator", "dashboard.sign-in")


def test_the_provider_gets_what_proves_that_the_code_is_ours(
    browser: httpx.Client, provider: Provider
) -> None:
    come_back(browser, set_out(browser))
    (form,) = provider.asked
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    sent = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert sent == provider.challenge_of(form["code"])
    assert (form["client_secret"], form["grant_type"]) == ("s3cret", "authorization_code")


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "no group": ({"claims": {"groups": ["guests"]}}, "in no group"),
    "groups of another kind": ({"claims": {"groups": {"staff": 1}}}, "in no group"),
    "another key": ({"signs_with": OTHER_KEY}, "not to be trusted"),
    "a shared secret": ({"signs_with": "s" * 64, "algorithm": "HS256"}, "not to be trusted"),
    "no signature": ({"algorithm": "none"}, "not to be trusted"),
    "another attempt": ({"claims": {"nonce": "n"}}, "another attempt"),
    "no nonce": ({"claims": {"nonce": None}}, "not to be trusted"),
    "another client": ({"claims": {"aud": "shop"}}, "not to be trusted"),
    "clients": ({"claims": {"aud": ["towline", "shop"]}}, "another client"),
    "for another": ({"claims": {"aud": ["towline", "shop"], "azp": "shop"}}, "another client"),
    "another provider": ({"claims": {"iss": "https://evil.example"}}, "not to be trusted"),
    "over": ({"claims": {"exp": int(time.time()) - 999}}, "not to be trusted"),
    "without an end": ({"claims": {"exp": None}}, "not to be trusted"),
    "to come": ({"claims": {"iat": int(time.time()) + 9999}}, "not to be trusted"),
    "a refusal": ({"refuses": "access_denied"}, "the provider said access_denied"),
}


def test_nobody_is_let_in_by_a_token_that_is_not_right(
    browser: httpx.Client, provider: Provider
) -> None:
    honest = {key: value for key, value in vars(provider).items() if key != "claims"}
    for lie, (changes, said) in LIES.items():
        claims = {"sub": "1", "email": "ada@acme.example", "groups": ["staff"]}
        others = {key: value for key, value in changes.items() if key != "claims"}
        vars(provider).update(honest | others, claims=claims | changes.get("claims", {}))
        answer = come_back(browser, set_out(browser))
        assert (answer.status_code, said in answer.text) == (403, True), (lie, answer.text)
        assert "towline-visit" not in answer.headers.get("set-cookie", ""), lie
        assert browser.get(f"{PAGE}/fleet").status_code == 303, lie


def test_only_the_browser_that_set_out_comes_back_and_once(
    browser: httpx.Client, provider: Provider
) -> None:
    at = set_out(browser)
    cookies = dict(browser.cookies)
    browser.cookies.clear()
    assert "out of date" in come_back(browser, at).text
    set_out(browser)
    assert "out of date" in come_back(browser, at).text, "another attempt"
    browser.cookies.clear()
    browser.cookies.update(cookies)
    back = httpx.get(at).headers["location"].partition("?")[2]
    empty = browser.get(f"{DOOR}/back", params={"state": back.partition("state=")[2]})
    assert (empty.status_code, "the provider said nothing" in empty.text) == (403, True)
    browser.cookies.update(cookies)
    assert browser.get(f"{DOOR}/back?{back}").status_code == 200
    assert browser.get(f"{DOOR}/back?{back}").status_code == 403


def test_however_many_set_out_an_attempt_holds_until_its_end_and_no_longer() -> None:
    attempts, attempt, now = Attempts(), Attempt(f"{PAGE}/fleet"), int(time.time())
    sealed = attempts.seal(attempt, now)
    for _ in range(100):
        attempts.seal(Attempt(PAGE), now)
    assert attempts.open(sealed, attempt.state) == attempt
    assert attempts.open(sealed, attempt.state + "x") is None
    assert Attempts().open(sealed, attempt.state) is None, "another server's"
    late = attempts.seal(attempt, now - ATTEMPT_LIFE_S - 1)
    assert attempts.open(late, attempt.state) is None
    longest = attempts.seal(Attempt(PAGE + "/" * (ONWARD_LIMIT - len(PAGE))), now)
    assert len(f"{COOKIE}={longest}") <= 4096, "a browser keeps no longer one"


def test_a_flood_at_the_door_calls_the_provider_no_oftener_than_people_do(
    browser: httpx.Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_door, "CALLS_AT_ONCE", 4)
    monkeypatch.setattr(provider_door, "CALLS_PER_S", 0.001)
    back = httpx.get(set_out(browser)).headers["location"].partition("?")[2]
    back, cookies = back.replace("code=", "code=not-"), dict(browser.cookies)
    said = []
    for _ in range(4):
        browser.cookies.update(cookies)
        said.append(browser.get(f"{DOOR}/back?{back}").status_code)
    assert said == [403, 403, 403, 429]
    assert browser.get(DOOR).status_code == 429
    assert len(provider.asked) == 3


def test_a_slow_provider_does_not_keep_all_threads_waiting(provider: Provider) -> None:
    knowing = oidc.Provider(
        OidcSettings("acme", provider.issuer, "c", "https://a", {Role.VIEWER: frozenset()})
    )
    for _ in range(oidc.CALLS_AT_ONCE):
        knowing._calling.acquire()
    with pytest.raises(oidc.ProviderAway, match="at once"):
        knowing.address(Attempt(PAGE))
    knowing._calling.release()
    assert knowing.address(Attempt(PAGE)).startswith(provider.issuer)
    assert knowing.address(Attempt(PAGE)), "each call gives its place back"


def test_nobody_is_sent_on_to_another_site(browser: httpx.Client, provider: Provider) -> None:
    answer = come_back(browser, set_out(browser, "https://evil.example/"))
    assert f'content="0;url={PAGE}"' in answer.text


def test_a_provider_that_is_another_or_away_is_said(
    browser: httpx.Client, provider: Provider
) -> None:
    provider.told_issuer = "https://evil.example"
    answer = browser.get(DOOR)
    assert (answer.status_code, "is not that of" in answer.text) == (502, True)


def test_without_a_provider_there_is_no_such_door(settings: ServeSettings) -> None:
    with serving(settings) as lines, client_of(settings, lines) as client:
        assert "Sign in by" not in client.get(f"{PAGE}/sign-in").text
        assert client.get(DOOR).status_code == 404


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("issuer", "isuer", "did you mean issuer"),
        ('client_id = "towline"', "client_id = 7", "client_id must be text"),
        ('client_id = "towline"\n', "", "client_id is missing"),
        ("https://login", "http://login", "issuer must begin with https://"),
        ("operator", "root", "root is no role"),
        ('["on-call"]', '"on-call"', "roles.operator must be a list of groups"),
        ("[roles]", "[role]", "no group has a role"),
        ('"secret"', '"gone"', "secret cannot be read"),
        ("issuer =", "issuer", "not TOML"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    (tmp_path / "secret").write_text("x")
    file = tmp_path / "oidc.toml"
    file.write_text(FILE.format(issuer="https://login.example").replace(before, after, 1))
    with pytest.raises(Problem) as caught:
        oidc_settings.load(file, "acme")
    assert said in str(caught.value)


def test_the_highest_role_counts() -> None:
    roles = {Role.ADMIN: frozenset({"a"}), Role.VIEWER: frozenset({"v", "a"})}
    settings = OidcSettings("acme", "https://i", "c", "https://a", roles)
    assert [settings.role_of(of) for of in (["v", "a"], ["v"], "v", [], None, [1])] == [
        Role.ADMIN,
        Role.VIEWER,
        Role.VIEWER,
        None,
        None,
        None,
    ]
