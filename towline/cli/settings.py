"""Every setting of the command line and the server: `towline.toml`, overlaid by TOWLINE_*.

Strict: an unknown key or a value of the wrong kind is a Problem that names the file and line.
docs/configuration.md lists the same settings; a test holds the two together.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from towline.manifests.errors import nearest
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Place, Problem

FILE_NAME = "towline.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `towline.toml` and the environment say; all paths are absolute."""

    organization: str | None = None
    """Whose fleet this is; roots and statements are bound to it."""
    repository: Path = Path()
    """The git repository's working copy."""
    path: str = ""
    """The fleet's folder inside the repository; empty: the whole of it."""
    branch: str = "main"
    """The branch that the server follows."""
    data: Path = Path(".towline/data")
    """Where the server keeps its database, its certificate and the first admin token."""
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


_KINDS: dict[str, Any] = get_type_hints(Settings)
_ENVIRONMENT_ONLY = frozenset({"token"})


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"TOWLINE_{name.upper()}"


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
    text = _read(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"this is not TOML: {error}", place=Place(str(file))) from None
    for name in document:
        place = Place(str(file), _line(text, name))
        if name not in _KINDS:
            raise _unknown(name, place)
        if name in _ENVIRONMENT_ONLY:
            remedy = f"remove the line and set {variable(name)} in the environment"
            raise Problem(f"{name} must not stand in a file that git keeps", remedy=remedy)
    return {
        name: _checked(name, value, file.parent, Place(str(file), _line(text, name)))
        for name, value in document.items()
    }


def _from_environment(environment: Mapping[str, str], base: Path) -> dict[str, Any]:
    found = {name: environment[variable(name)] for name in _KINDS if variable(name) in environment}
    return {
        name: _checked(name, _number(name, text), base, Place(variable(name)))
        for name, text in found.items()
    }


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"it cannot be read: {error.strerror}", place=Place(str(file))) from None
    except UnicodeDecodeError:
        raise Problem("it is not UTF-8", place=Place(str(file))) from None


def _unknown(name: str, place: Place) -> Problem:
    meant = nearest(name, _KINDS)
    remedy = f"did you mean {meant}?" if meant else f"known are {', '.join(_KINDS)}"
    return Problem(f"there is no setting {name}", remedy=remedy, place=place)


def _line(text: str, name: str) -> int | None:
    """The line of a key at the top level; None where it is written in an unusual way."""
    found = re.search(rf"^\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", text, re.MULTILINE)
    return text.count("\n", 0, found.end()) + 1 if found else None


def _number(name: str, text: str) -> str | int:
    return int(text) if _KINDS[name] is int and text.isdecimal() else text


def _checked(name: str, value: object, base: Path, place: Place) -> object:
    kind = _KINDS[name]
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Problem(f"{name} must be a whole number of seconds, at least 1", place=place)
        return value
    if not isinstance(value, str):
        raise Problem(f"{name} must be text", remedy="put it in quotes", place=place)
    if name == "organization" and not is_id(value):
        raise Problem(
            f"organization {value!r} is no id: small letters, digits, dots, dashes and"
            " underscores, at most 63",
            place=place,
        )
    return base / Path(value).expanduser() if kind in (Path, Path | None) else value
