"""Every setting of the command line and the server: `towline.toml`, overlaid by TOWLINE_*.

Strict: an unknown key or a value of the wrong kind is a Problem that names the file and line.
docs/configuration.md lists the same settings; a test holds the two together.
"""

import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from towline.cli import setting_texts
from towline.manifests.errors import nearest
from towline.manifests.remote import Remote
from towline.schemas.problems import Place, Problem

FILE_NAME = "towline.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `towline.toml` and the environment say; all paths are absolute."""

    organization: str | None = None
    """Whose fleet this is; roots and statements are bound to it."""
    repository: Path = Path()
    """The git repository's working copy."""
    repository_url: str | None = None
    """The repository that the server follows, where it is not the working copy."""
    repository_username: str | None = None
    """Who the password is of, over https."""
    repository_password: str | None = None
    """Password or token, over https: environment only."""
    repository_password_file: Path | None = None
    """The file that holds the password or token on one line."""
    repository_ssh_key: Path | None = None
    """The private key to get in with, over ssh."""
    repository_known_hosts: Path | None = None
    """The keys of the hosts that ssh trusts."""
    repository_ca_file: Path | None = None
    """The certificates, PEM, that alone vouch for the git host."""
    repository_proxy: str | None = None
    """The proxy on the way to the git host, over https."""
    repository_timeout: int = 60
    """Seconds that one fetch may take; ten times that for the first."""
    path: str = ""
    """The fleet's folder inside the repository; empty: the whole of it."""
    branch: str = "main"
    """The branch that the server follows."""
    allowed_signers: Path | None = None
    """Who may sign the branch's head, as ssh-keygen reads it; else it needs no signature."""
    data: Path = Path(".towline/data")
    """Where the server keeps its database, its certificate and the first admin token."""
    store: str | None = None
    """URL of the Postgres database that holds the store; else it is a SQLite file in `data`."""
    listen: str = "127.0.0.1:8443"
    """ADDRESS:PORT of the server."""
    online_key: Path = Path(".towline/keys/online.pem")
    """Signs what each device should run."""
    release_key: Path = Path(".towline/keys/release.pem")
    """Signs releases; in production it never lies on the server."""
    packages: Path = Path("packages")
    """The folder that the server serves as /packages/."""
    poll_interval: int = 300
    """Seconds that a device waits between polls."""
    git_interval: int = 15
    """Seconds between looks at the branch."""
    device_calls: int = 50
    """Calls that one device may make in a second."""
    refused_calls: int = 10
    """Enrolments and sessions of one address that are refused in a second before it must wait."""
    trusted_proxies: str = ""
    """The proxies in front of the server, whose word on who calls is taken."""
    oidc: Path | None = None
    """The file that names an OpenID Connect provider that people may sign in by."""
    tls_cert: Path | None = None
    """A certificate of one's own, PEM; else the server makes one at its first start."""
    tls_key: Path | None = None
    """The private key to tls_cert, PEM."""
    server: str | None = None
    """URL of the server that commands speak to."""
    token: str | None = None
    """Admin token for that server: environment only, because git keeps towline.toml."""
    ca: Path | None = None
    """The certificate or CA, PEM, that vouches for that server."""

    @property
    def fleet(self) -> Path:
        """The folder that holds deployments/, releases/ and trust/."""
        return self.repository / self.path

    @property
    def proxies(self) -> tuple[str, ...]:
        """Each of `trusted_proxies`."""
        return tuple(setting_texts.listed(self.trusted_proxies))

    @property
    def remote(self) -> Remote | None:
        """The repository elsewhere that the server follows; raises Problem when settings clash."""
        if self.repository_url is None:
            return None
        return Remote(
            url=self.repository_url,
            username=self.repository_username or "",
            password=self.repository_password or "",
            password_file=self.repository_password_file,
            ssh_key=self.repository_ssh_key,
            known_hosts=self.repository_known_hosts,
            ca_file=self.repository_ca_file,
            proxy=self.repository_proxy or "",
            timeout_s=self.repository_timeout,
        )


_KINDS: dict[str, Any] = get_type_hints(Settings)
_ENVIRONMENT_ONLY = frozenset({"token", "repository_password"})
TABLE = "repository"
"""`[repository]` holds the keys of a repository elsewhere; as a text it is the working copy."""


def key(name: str) -> str:
    """A setting as towline.toml spells it: `repository.url`."""
    return name.replace(f"{TABLE}_", f"{TABLE}.", 1)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"TOWLINE_{name.upper()}"


_NAMES = {key(name): name for name in _KINDS}


def load(
    start: Path | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings that hold in the folder `start` (default: here); raises Problem.

    `towline.toml` is `file`, or the one in `start` or the nearest folder above it. Relative paths
    in it are relative to it, in the environment to `start`; without a file defaults hold.
    """
    start = (start or Path.cwd()).resolve()
    file = file or find(start)
    values = _defaults(file.resolve().parent if file else start)
    if file:
        values |= _from_file(file.resolve())
    values |= _from_environment(os.environ if environment is None else environment, start)
    return Settings(**values)


def load_fleet(start: Path | None = None) -> Settings:
    """As `load`, for a command that works on a fleet repository; raises Problem outside one."""
    settings = load(start)
    if settings.organization is None or not settings.fleet.is_dir():
        raise Problem(
            f"{(start or Path.cwd()).resolve()} is not in a fleet repository: no {FILE_NAME} here"
            " or above names an organization",
            remedy="go there with cd, or name it with --repo DIR; `towline init DIR` makes one",
        )
    return settings


def find(start: Path) -> Path | None:
    """The `towline.toml` in `start` or the nearest folder above it."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def _defaults(base: Path) -> dict[str, Any]:
    return {
        field.name: base / field.default if isinstance(field.default, Path) else field.default
        for field in fields(Settings)
    }


def _from_file(file: Path) -> dict[str, Any]:
    text = read(file)
    return dict(
        _setting(spelled, value, file.parent, Place(str(file), _line(text, spelled)))
        for spelled, value in _flat(parse(text, file))
    )


def parse(text: str, file: Path) -> dict[str, Any]:
    """What a `towline.toml` of that text says; raises Problem."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"this is not TOML: {error}", place=Place(str(file))) from None


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys with their tables' names, `repository.url`, and their values.

    Each of `[[repository]]` is of an organization of its own: `fleet_settings` reads them.
    """
    for spelled, value in document.items():
        if spelled == TABLE and isinstance(value, list):
            continue
        if spelled == TABLE and isinstance(value, dict):
            yield from ((f"{TABLE}.{inner}", each) for inner, each in value.items())
        else:
            yield spelled, value


def _setting(spelled: str, value: Any, base: Path, place: Place) -> tuple[str, object]:
    name = _NAMES.get(spelled)
    if name is None:
        raise unknown(spelled, _NAMES, place)
    if name in _ENVIRONMENT_ONLY:
        remedy = f"remove the line and set {variable(name)} in the environment"
        raise Problem(f"{spelled} must not stand in a file that git keeps", remedy=remedy)
    return name, checked(name, value, base, place, is_kept=True)


def _from_environment(environment: Mapping[str, str], base: Path) -> dict[str, Any]:
    found = {name: environment[variable(name)] for name in _KINDS if variable(name) in environment}
    return {
        name: checked(name, _number(name, text), base, Place(variable(name)))
        for name, text in found.items()
    }


def read(file: Path) -> str:
    """The text of a `towline.toml`; raises Problem."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"it cannot be read: {error.strerror}", place=Place(str(file))) from None
    except UnicodeDecodeError:
        raise Problem("it is not UTF-8", place=Place(str(file))) from None


def unknown(name: str, known: Collection[str], place: Place) -> Problem:
    """What is said of a setting that is none of the known ones."""
    meant = nearest(name, known)
    remedy = f"did you mean {meant}?" if meant else f"known are {', '.join(known)}"
    return Problem(f"there is no setting {name}", remedy=remedy, place=place)


def _line(text: str, spelled: str) -> int | None:
    """The line of a key; None where it is written in an unusual way."""
    table, _, inner = spelled.rpartition(".")
    found = re.search(rf"^\s*[\"']?{re.escape(spelled)}[\"']?\s*[=.]", text, re.MULTILINE)
    if table and not found and (head := re.search(rf"^\s*\[{table}\]", text, re.MULTILINE)):
        in_table = re.compile(rf"^\s*[\"']?{re.escape(inner)}[\"']?\s*[=.]", re.MULTILINE)
        found = in_table.search(text, head.end())
    return text.count("\n", 0, found.end()) + 1 if found else None


def _number(name: str, text: str) -> str | int:
    return int(text) if _KINDS[name] is int and text.isdecimal() else text


def checked(name: str, value: object, base: Path, place: Place, *, is_kept: bool = False) -> object:
    """The value as Settings holds it; `is_kept`: git keeps what stands at the place."""
    kind, spelled = _KINDS[name], key(name)
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Problem(f"{spelled} must be a whole number of seconds, at least 1", place=place)
        return value
    if not isinstance(value, str):
        raise Problem(f"{spelled} must be text", remedy="put it in quotes", place=place)
    try:
        setting_texts.check(name, value, is_kept=is_kept)
    except Problem as problem:
        raise Problem(problem.what, remedy=problem.remedy, place=place) from None
    return base / Path(value).expanduser() if kind in (Path, Path | None) else value
