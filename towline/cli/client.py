"""Speaking to the server over HTTP: where it is, who we are, and what its answers mean.

Found by TOWLINE_SERVER, TOWLINE_TOKEN and TOWLINE_CA, else by the `towline.toml` of the folder on
the server's own machine: its address, its certificate and its first admin token. That certificate
vouches as well where TOWLINE_SERVER is an address of this very server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from towline.cli.exit_codes import NotAuthorised
from towline.cli.settings import Settings, load
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Problem

API = "/api/v1/admin/ota"
TIMEOUT_S = 30
PAGE_SIZE = 100
PART_SIZE = 1000
TOKEN_FILE = "admin.token"  # noqa: S105 a file's name
CERTIFICATE_FILE = "tls.crt"


class NotFound(Problem):
    """The server has no such thing."""


class Client:
    """Calls of the admin API; every failure is a Problem for the person who called."""

    def __init__(self, server: str, token: str, ca: Path | None) -> None:
        self.server = server.rstrip("/")
        self._session = requests.Session()
        # Only what is said here counts: no proxy and no netrc of the environment.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.verify = str(ca) if ca else True

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET under the admin API."""
        wanted = {key: value for key, value in query.items() if value is not None}
        return self._call("GET", path, params=wanted)

    def named(self, kind: str, name: str, *more: str, **query: Any) -> dict[str, Any]:
        """GET one deployment or device by its id or UUID; raises Problem for what is neither."""
        return self.get("/".join(["", kind, checked_id(name), *more]), **query)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST under the admin API."""
        return self._call("POST", path, json=body)

    def put(self, path: str, **body: Any) -> dict[str, Any]:
        """PUT under the admin API."""
        return self._call("PUT", path, json=body)

    def change(self, path: str, of: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Read what is there, and put in its place what `of` makes of it; nobody's edit is lost."""
        answer = self._send("GET", path)
        wanted = of(_checked(answer))
        held = {"If-Match": answer.headers["ETag"]}
        return _checked(self._send("PUT", path, json=wanted, headers=held))

    def pages(self, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        page = 1
        while True:
            found = self.get(path, page=page, page_size=PAGE_SIZE, **query)
            yield from found[key]
            if page >= found["pagination"]["total_pages"]:
                return
            page += 1

    def parts(self, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a list that goes on behind a cursor, part by part."""
        cursor = None
        while True:
            found = self.get(path, cursor=cursor, limit=PART_SIZE, **query)
            yield from found[key]
            cursor = found["next_cursor"]
            if cursor is None:
                return

    def newest_run(self, name: str) -> dict[str, Any]:
        """The newest run of a Deployment with its failing devices; raises Problem without one."""
        return self.named("deployments", name, devices="failing")

    def run(self, run_id: str) -> dict[str, Any]:
        """A run with its failing devices."""
        return self.get(f"/deployments/{run_id}", devices="failing")

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return _checked(self._send(method, path, **arguments))

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self.server}{API}{path}", timeout=TIMEOUT_S, **arguments
            )
        except requests.exceptions.SSLError:
            raise Problem(
                f"the certificate of {self.server} is not vouched for",
                remedy="name it with TOWLINE_CA; `towline serve` keeps its own in its data folder",
            ) from None
        except requests.exceptions.RequestException as error:
            raise Problem(
                f"no server answers at {self.server}: {type(error).__name__}",
                remedy="start it with `towline serve`, or name another with TOWLINE_SERVER",
            ) from None


def checked_id(name: str) -> str:
    """`name`, when it is an id; raises Problem."""
    if not is_id(name):
        raise Problem(f"{name!r} is no id: small letters, digits, dots, dashes, underscores")
    return name


def _checked(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except requests.exceptions.JSONDecodeError:
        document = None
    if answer.ok and isinstance(document, dict):
        return document
    if answer.ok:
        raise Problem(f"{answer.url} is no Towline server", remedy="check TOWLINE_SERVER")
    detail = document.get("detail") if isinstance(document, dict) else None
    words = str(detail or f"the server answered {answer.status_code} {answer.reason}")
    if answer.status_code in (401, 403):
        raise NotAuthorised(words, remedy="set TOWLINE_TOKEN to a token with the role for this")
    if answer.status_code == 404:
        raise NotFound(
            words, remedy="`towline get deployments` and `towline get devices` list what there is"
        )
    raise Problem(words)


def connect(settings: Settings | None = None) -> Client:
    """The client for the server that holds here; raises Problem when nothing names one."""
    settings = settings or load()
    if settings.server is not None:
        return Client(settings.server, _token(settings), settings.ca or _own_certificate(settings))
    if settings.organization is None:
        raise Problem(
            "nothing here names a server",
            remedy="go to the fleet repository, or set TOWLINE_SERVER and TOWLINE_TOKEN",
        )
    ca = _ca(settings)
    return Client(f"https://{_reachable(settings.listen)}", _token(settings), ca)


def _ca(settings: Settings) -> Path | None:
    """What vouches for the server of this folder; None: whom the machine trusts."""
    certificate = settings.ca or settings.data / CERTIFICATE_FILE
    try:
        is_there = certificate.is_file()
    except PermissionError as error:
        if settings.ca is None and settings.tls_cert is not None:
            return None
        raise Problem(
            f"{certificate} cannot be read: {error.strerror}",
            remedy="set TOWLINE_CA to a copy of the server's tls.crt that you may read",
        ) from None
    if not is_there and settings.tls_cert is None:
        raise Problem(
            f"no server has run here yet: {certificate} is missing",
            remedy="start it with `towline serve`, or name another with TOWLINE_SERVER",
        )
    return certificate if is_there else None


def _own_certificate(settings: Settings) -> Path | None:
    """The certificate that the server made here, where `server` is the address of that very one.

    It is by the port and by the names that stand in the certificate; no other server has its key,
    so that a token shown to it goes astray nowhere.
    """
    certificate = settings.data / CERTIFICATE_FILE
    try:
        # The data folder may be another user's, who alone may look into it.
        if settings.tls_cert is not None or not certificate.is_file():
            return None
    except PermissionError:
        return None
    try:
        parts = urlsplit(settings.server or "")
        port = parts.port or 443
    except ValueError:
        return None
    if str(port) != settings.listen.rpartition(":")[2]:
        return None
    from towline.reconciler.server.tls import names  # noqa: PLC0415 heavy

    return certificate if parts.hostname in names(certificate) else None


def _reachable(listen: str) -> str:
    """Where to reach a server that listens on all interfaces."""
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]") else listen  # noqa: S104


def _token(settings: Settings) -> str:
    if settings.token is not None:
        if not (settings.token.isascii() and settings.token.isprintable()):
            raise NotAuthorised("TOWLINE_TOKEN holds what no token does", remedy="copy it anew")
        return settings.token
    # A server of several organizations keeps a file for each.
    file = settings.data / f"admin-{settings.organization}.token"
    try:
        if not file.exists():
            file = settings.data / TOKEN_FILE
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise NotAuthorised(
            f"there is no token: {file}: {error.strerror}",
            remedy="set TOWLINE_TOKEN, or run this where the server keeps its data",
        ) from None
