"""An OpenID Connect provider on this machine, which can be told to cheat."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Provider:
    """What it says of whoever signs in; everybody does, at once."""

    issuer: str = ""
    claims: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "1",
            "email": "ada@acme.example",
            "email_verified": True,
        }
    )
    """Over those that are right; None leaves one out."""
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    signs_with: Any = None
    """Another key than the one that it names."""
    algorithm: str = "ES256"
    told_issuer: str = ""
    refuses: str = ""
    asks_first: bool = False
    """It shows a page, whose link leads back."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """What the token endpoint got."""
    _nonces: dict[str, str] = field(default_factory=dict)
    _challenges: dict[str, str] = field(default_factory=dict)

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        code = f"code-{len(self._nonces)}"
        self._nonces[code] = query["nonce"]
        self._challenges[code] = query["code_challenge"]
        back = {"code": code, "state": query["state"]}
        if self.refuses:
            back["error"] = self.refuses  # which counts, whatever is said beside it
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint."""
        self.asked.append(form)
        nonce = self._nonces.pop(form["code"], None)
        if nonce is None:
            return {"error": "invalid_grant"}
        now = int(time.time())
        right = {"iss": self.issuer, "aud": "towline", "iat": now, "exp": now + 300, "nonce": nonce}
        told = {key: value for key, value in (right | self.claims).items() if value is not None}
        key: Any = None if self.algorithm == "none" else self.signs_with or self.key
        token = jwt.encode(told, key, algorithm=self.algorithm, headers={"kid": "k1"})
        return {"id_token": token, "access_token": "x", "token_type": "Bearer"}

    def challenge_of(self, code: str) -> str:
        """What was told of the verifier when the code was asked for."""
        return self._challenges[code]

    def documents(self) -> dict[str, Any]:
        """What is told of it, by path."""
        at = self.issuer
        jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.told_issuer or at,
                "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
                "jwks_uri": f"{at}/keys",
            },
            "/keys": {"keys": [jwk | {"kid": "k1", "use": "sig", "alg": "ES256"}]},
        }


@contextmanager
def running() -> Iterator[Provider]:
    """It serves until the block ends."""
    provider = Provider()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
                self._send_back(provider.authorize(query))
                return
            document = provider.documents().get(parts.path)
            self._answer(document, 404 if document is None else 200)

        def _send_back(self, where: str) -> None:
            text = f'<a href="{escape(where)}">Yes</a>'.encode() if provider.asks_first else b""
            self.send_response(200 if provider.asks_first else 302)
            self.send_header("Location", where)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: values[-1] for key, values in parse_qs(text).items()}
            answer = provider.token(form)
            self._answer(answer, 400 if "error" in answer else 200)

        def _answer(self, document: Any, status: int = 200) -> None:
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as served:
        provider.issuer = f"http://127.0.0.1:{served.server_port}"
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            yield provider
        finally:
            served.shutdown()
            thread.join()
