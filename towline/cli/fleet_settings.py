"""The fleets of a server: that of `towline.toml` itself, and one for each of its `[[repository]]`.

An entry binds an organization to its repository; whatever it does not say is the default of that
setting, never what the file says of its own organization.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from towline.cli import settings as single
from towline.cli.settings import TABLE, Settings
from towline.schemas.problems import Place, Problem

ENTRY = {
    "organization": "organization",
    "folder": "repository",
    "url": "repository_url",
    "username": "repository_username",
    "password_file": "repository_password_file",
    "ssh_key": "repository_ssh_key",
    "known_hosts": "repository_known_hosts",
    "ca_file": "repository_ca_file",
    "proxy": "repository_proxy",
    "timeout": "repository_timeout",
    "path": "path",
    "branch": "branch",
    "allowed_signers": "allowed_signers",
    "online_key": "online_key",
}
"""The keys of an entry, and the setting that each is."""
_OF_ONE = (*ENTRY.values(), "repository_password")


def load_others(settings: Settings, start: Path | None = None) -> tuple[Settings, ...]:
    """The settings of each `[[repository]]`, beside those that `load` gave for the same folder.

    Raises Problem.
    """
    file = single.find((start or Path.cwd()).resolve())
    return () if file is None else others_in(single.read(file), file.resolve(), settings)


def others_in(text: str, file: Path, settings: Settings) -> tuple[Settings, ...]:
    """As `load_others`, of the text of a file; raises Problem."""
    entries = single.parse(text, file).get(TABLE)
    found: dict[str | None, Settings] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        place = Place(str(file), _line(text, number))
        other = _other(entry, settings, file.parent, place)
        if other.organization in found:
            raise Problem(f"{other.organization} has two repositories", place=place)
        found[other.organization] = other
    return tuple(found.values())


def has_own(settings: Settings, others: Sequence[Settings]) -> bool:
    """True when the file describes a fleet beside its entries: its organization has none there."""
    names = {other.organization for other in others}
    return settings.organization is not None and settings.organization not in names


def _other(entry: Any, settings: Settings, base: Path, place: Place) -> Settings:
    values = _values(entry if isinstance(entry, dict) else {}, base, place)
    if "organization" not in values or ("repository" in values) == ("repository_url" in values):
        raise Problem(
            "a [[repository]] says whose it is and where it is",
            remedy="write organization, and either folder or url",
            place=place,
        )
    blank: dict[str, Any] = {each.name: each.default for each in fields(Settings)}
    own = {name: blank[name] for name in _OF_ONE} | {"repository": base}
    # Where `towline init` made the repository, its key lies in it.
    folder = values.get("repository")
    own["online_key"] = folder / blank["online_key"] if folder else settings.online_key
    return replace(settings, **(own | values))


def _values(entry: Mapping[str, Any], base: Path, place: Place) -> dict[str, Any]:
    values = {}
    for spelled, value in entry.items():
        if spelled not in ENTRY:
            raise single.unknown(spelled, ENTRY, place)
        name = ENTRY[spelled]
        values[name] = single.checked(name, value, base, place, is_kept=True)
    return values


def _line(text: str, number: int) -> int | None:
    """The line of an entry; None where it is written in an unusual way."""
    heads = list(re.finditer(rf"^\s*\[\[\s*{TABLE}\s*\]\]", text, re.MULTILINE))
    return text.count("\n", 0, heads[number].end()) + 1 if number < len(heads) else None
