"""Signing in by an OpenID Connect provider: the code flow with PKCE, what the ID token must say.

After OpenID Connect Core 1.0 (sections 3.1.2 and 3.1.3.7) and RFC 7636. What comes from the browser
is not believed: the ID token is fetched from the provider itself, its signature is checked against
the provider's keys, and it must be for this client and answer this very attempt.
"""

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlencode

import orjson

from towline.reconciler.server.oidc_settings import OidcSettings
from towline.reconciler.store.people import Person
from towline.schemas.problems import Problem

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Of a provider's own keys only: with a shared secret any client of it could sign."""
LEEWAY_S = 60
TIMEOUT_S = 10
CALLS_AT_ONCE = 10
"""While the provider is slow: the threads that serve people are four times as many."""
LOOKED_UP_EVERY_S = 3600
KEYS_FETCHED_EVERY_S = 60
NAME_LIMIT = 100
TOKEN_ID = "oidc"  # noqa: S105 what the audit says in the place of a token's id
_DOCUMENT_LIMIT = 1024 * 1024


class NotLetIn(Exception):
    """Somebody who is not signed in; the text says why."""


class ProviderAway(Exception):
    """The provider does not answer as it should; the text says what it did."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to sign in."""

    onward: str
    """Where the person wants to go."""
    state: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (RFC 7636, S256)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Provider:
    """The provider of one organization; safe to use from any thread."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody is asked yet; raises Problem where the library is missing."""
        if find_spec("jwt") is None:
            raise Problem(
                "signing in by a provider needs a library that is not installed",
                remedy="install it: pip install 'towline[oidc]'",
            )
        self.settings = settings
        self._clock = clock
        self._asking = threading.Lock()
        self._calling = threading.BoundedSemaphore(CALLS_AT_ONCE)
        self._told: dict[str, Any] = {}
        self._told_at = -float(LOOKED_UP_EVERY_S)
        self._keys: dict[str, Any] = {}
        self._keys_at = -float(KEYS_FETCHED_EVERY_S)

    def address(self, attempt: Attempt) -> str:
        """Where the browser goes to sign in; raises ProviderAway."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect,
            "scope": "openid profile email",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        at = self._endpoint("authorization_endpoint")
        return f"{at}{'&' if '?' in at else '?'}{urlencode(asked)}"

    def person(self, attempt: Attempt, code: str) -> Person:
        """Who has signed in, by the code of the attempt; raises NotLetIn or ProviderAway."""
        claims = self._claims(attempt, self._id_token(attempt, code))
        role = self.settings.role_of(claims.get(self.settings.groups_claim))
        name = _name(claims)
        if role is None:
            raise NotLetIn(f"{name} is in no group that has a role here")
        return Person(name, self.settings.organization, role, TOKEN_ID, None)

    def _id_token(self, attempt: Attempt, code: str) -> str:
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect,
            "client_id": self.settings.client_id,
            "code_verifier": attempt.verifier,
        }
        try:
            secret = self.settings.secret()
        except Problem as problem:
            raise ProviderAway(problem.what) from None
        if secret:
            sent["client_secret"] = secret
        at = self._endpoint("token_endpoint")
        status, answer = self._call("POST", at, data=sent)
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise NotLetIn(
                f"the provider gave no ID token: {str(answer.get('error', status))[:80]}"
            )
        return token

    def _claims(self, attempt: Attempt, token: str) -> dict[str, Any]:
        import jwt  # noqa: PLC0415 an extra

        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token,
                key=key,
                algorithms=list(ALGORITHMS),
                audience=self.settings.client_id,
                issuer=self.settings.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "aud", "iss", "sub", "nonce"]},
            )
        except jwt.PyJWTError as error:
            raise NotLetIn(f"the provider's ID token is not to be trusted: {error}") from None
        if not hmac.compare_digest(str(claims["nonce"]).encode(), attempt.nonce.encode()):
            raise NotLetIn("the provider's ID token is of another attempt")
        audience = claims["aud"]
        if claims.get("azp", self.settings.client_id) != self.settings.client_id or (
            isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        ):
            raise NotLetIn("the provider's ID token is for another client")
        return claims

    def _key(self, kid: str) -> Any:
        """The provider's key of that id; one that is not known yet is looked up."""
        import jwt  # noqa: PLC0415 an extra

        with self._asking:
            if kid not in self._keys and self._clock() - self._keys_at >= KEYS_FETCHED_EVERY_S:
                _, document = self._call("GET", self._endpoint("jwks_uri"))
                self._keys_at = self._clock()
                try:
                    found = jwt.PyJWKSet.from_dict(document).keys
                except jwt.PyJWTError as error:
                    raise ProviderAway(f"its keys cannot be read: {error}") from None
                self._keys = {str(key.key_id or ""): key for key in found}
            if kid not in self._keys:
                raise NotLetIn("the provider's ID token is signed by a key that it does not name")
            return self._keys[kid]

    def _endpoint(self, name: str) -> str:
        told = self._discover()
        at = told.get(name)
        if not isinstance(at, str) or not self.settings.may_call(at):
            raise ProviderAway(f"it names no {name} that can be used")
        return at

    def _discover(self) -> Mapping[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        if self._clock() - self._told_at >= LOOKED_UP_EVERY_S:
            at = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            status, told = self._call("GET", at)
            if status != 200 or told.get("issuer") != self.settings.issuer:
                raise ProviderAway(f"{at} is not that of {self.settings.issuer}")
            self._told, self._told_at = told, self._clock()
        return self._told

    def _call(self, method: str, at: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        if not self._calling.acquire(blocking=False):
            raise ProviderAway("too many sign in at once, try again in a moment")
        try:
            return self._call_now(method, at, **sent)
        finally:
            self._calling.release()

    def _call_now(self, method: str, at: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        # Heavy, and most servers never call a provider.
        import requests  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        verify = str(self.settings.ca_file) if self.settings.ca_file else True
        try:
            with requests.request(
                method,
                at,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                verify=verify,
                stream=True,
                headers={"Accept": "application/json"},
                **sent,
            ) as answer:
                text = answer.raw.read(_DOCUMENT_LIMIT + 1, decode_content=True)
                status = answer.status_code
            if len(text) > _DOCUMENT_LIMIT:
                raise ProviderAway(f"{at} answers more than it should")
            document = orjson.loads(text or b"{}")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise ProviderAway(
                f"{at} does not answer as it should: {type(error).__name__}"
            ) from None
        return status, document if isinstance(document, dict) else {}


def _name(claims: Mapping[str, Any]) -> str:
    """What the record calls the person: an address that the provider vouches for, else a name."""
    names = ["email"] if claims.get("email_verified") is True else []
    names += ["preferred_username", "sub"]
    found = next(str(claims[name]) for name in names if claims.get(name))
    return "".join(c for c in found if c.isprintable())[:NAME_LIMIT] or "?"
