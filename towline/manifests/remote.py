"""A fleet repository on another machine: its URL, and what git may use to get in.

Pure but for reading the password's file. What a URL may look like is decided here, so that no
secret is ever part of one: whatever is printed, logged or stored is safe to show.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from towline.schemas.problems import Problem

_ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|[^/]+@[^/]+:")
_SCP = re.compile(
    r"(?P<user>[\w.][\w.-]*)@(?P<host>[\w.][\w.-]*|\[[0-9a-fA-F:]+\]):(?P<path>.+)", re.ASCII
)
_HOST = re.compile(r"[\w.][\w.-]*|[0-9a-fA-F:]+", re.ASCII)
_PLAIN = re.compile(r"[!-~]+")
_ONLY_FOR = {
    "username": "https",
    "password": "https",
    "password_file": "https",
    "ca_file": "https",
    "proxy": "https",
    "ssh_key": "ssh",
    "known_hosts": "ssh",
}


@dataclass(frozen=True, slots=True)
class Remote:
    """Where the repository is and how to get in; paths are absolute."""

    url: str
    """Checked by `checked_url`."""
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    """Read at every fetch, so that a token may be renewed."""
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None
    proxy: str = field(default="", repr=False)
    """It may hold a password."""
    timeout_s: int = 60
    """For one fetch."""

    def __post_init__(self) -> None:
        """Raises Problem for a setting that this kind of URL has no use for."""
        for name, scheme in _ONLY_FOR.items():
            if getattr(self, name) and scheme != self.scheme:
                raise Problem(
                    f"repository.{name} is for {scheme}, and {self.url} is not",
                    remedy="remove the one or change the other",
                )

    @property
    def scheme(self) -> str:
        """`https`, `ssh` or `file`."""
        return "ssh" if _SCP.fullmatch(self.url) else self.url.partition(":")[0]

    @property
    def host(self) -> str:
        """Whom to reach, for people; empty for `file`."""
        short = _SCP.fullmatch(self.url)
        return short["host"] if short else urlsplit(self.url).hostname or ""

    @property
    def origin(self) -> str:
        """Scheme, host and port: whom the password may be told."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def secret(self) -> str:
        """The password or token; empty for none. Raises Problem when its file is no good."""
        if self.password_file is None:
            return self.password
        try:
            text = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise Problem(
                f"the password of the repository cannot be read from {self.password_file}: {why}",
                remedy="name its file with repository.password_file",
            ) from None
        if not text or not text.isprintable():
            raise Problem(
                f"{self.password_file} must hold the password on one line and nothing else",
                remedy="write it anew",
            )
        return text


def is_url(text: str) -> bool:
    """True for what names a repository elsewhere, as `--repo` takes folders as well."""
    return _ELSEWHERE.match(text) is not None


def checked_url(url: str) -> str:
    """`url`, when git may fetch from it and nothing secret is in it; raises Problem.

    The URL is repeated in the message only where no secret can be in it.
    """
    if _PLAIN.fullmatch(url) is None:
        raise Problem("the repository's URL holds a space or a character that is none of ASCII's")
    if _SCP.fullmatch(url):
        return url
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "git", "ftp", "ftps"):
        raise Problem(
            f"{scheme}:// is read and changed by whoever is on the way",
            remedy="use the repository's https:// or ssh:// URL",
        )
    if scheme not in ("https", "ssh", "file") or not rest:
        raise Problem(
            "this is no URL of a repository",
            remedy="write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or file:///PATH",
        )
    if scheme == "file":
        return _checked_file(url, rest)
    return _checked_remote(url, scheme)


def _checked_file(url: str, rest: str) -> str:
    if not rest.startswith("/"):
        raise Problem(f"{url} names no absolute path", remedy="write file:///PATH")
    return url


def _checked_remote(url: str, scheme: str) -> str:
    try:
        parts = urlsplit(url)
        is_whole = _HOST.fullmatch(parts.hostname or "") and (parts.port or 1)
    except ValueError:
        is_whole = False
    if not is_whole or len(parts.path) < 2:
        raise Problem(
            "the repository's URL has no host or no path",
            remedy=f"write {scheme}://HOST/PATH",
        )
    if parts.password is not None or (scheme == "https" and "@" in parts.netloc):
        raise Problem(
            f"the URL of the repository at {parts.hostname} holds a user or a password, and"
            " URLs are shown and stored",
            remedy="write it without, and set repository.username and repository.password_file"
            if scheme == "https"
            else "write it without, and set repository.ssh_key",
        )
    if parts.query or parts.fragment:
        raise Problem(
            f"the URL of the repository at {parts.hostname} has a ? or # in it",
            remedy="write it without; a token belongs into repository.password_file",
        )
    return url


def checked_proxy(proxy: str, *, may_hold_password: bool) -> str:
    """`proxy`, when git can use it; raises Problem, without repeating it."""
    try:
        parts = urlsplit(proxy)
        is_whole = bool(parts.hostname and parts.port) and _PLAIN.fullmatch(proxy) is not None
    except ValueError:
        is_whole = False
    if not is_whole or parts.scheme not in ("http", "https", "socks5", "socks5h"):
        raise Problem("this is no URL of a proxy", remedy="write http://HOST:PORT")
    if "@" in parts.netloc and not may_hold_password:
        raise Problem(
            "the proxy's URL holds a user or a password, and git keeps this file",
            remedy="remove the line and set TOWLINE_REPOSITORY_PROXY in the environment",
        )
    return proxy
