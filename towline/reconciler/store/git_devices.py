"""Device manifests in force: what git says of the labels, the keys and the admission of devices.

A key that git lists is admitted by git alone: another one in its place becomes the device's key,
and where none is listed any more the device is revoked.

A commit changes few devices, and while it is written nobody else can write. So who differs from git
is found before, and only they are written.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from towline.reconciler.store import changed_devices, words_of_git
from towline.reconciler.store.device_keys import (
    DeviceState,
    KeyFrom,
    admitted,
    end_sessions,
    state_of,
)
from towline.reconciler.store.events import Event
from towline.reconciler.store.labels import intern_labels, merged
from towline.reconciler.store.tables import edge_devices
from towline.schemas.keys import PublicKey


@dataclass(frozen=True, slots=True)
class GitDevice:
    """What a manifest of kind Device says."""

    labels: Mapping[str, str] = field(default_factory=dict)
    public_key: PublicKey | None = None
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What git says of an organization's devices."""

    organization: str
    devices: Mapping[str, GitDevice]
    is_kept: Callable[[str], bool] = lambda _: False
    """Of which devices it cannot be told what git says: they stay as they are."""

    def changes_of(self, rows: Iterable[Row[Any]]) -> "_Changes":
        """The devices that are not as git says."""
        found = [
            (row, _differing(row, self.devices.get(row.slug, _UNSAID)))
            for row in rows
            if not self.is_kept(row.slug)
        ]
        return [(row, columns) for row, columns in found if columns]


@dataclass(frozen=True, slots=True)
class Compared:
    """Which devices were not as git says, at a moment."""

    said: Said
    differing: tuple[int, ...]
    change: int
    """The number of the last change of any device until then."""


_UNSAID = GitDevice()
CHANGED_LIMIT = 20_000
"""Where more devices changed since they were compared, all are compared again."""
_Changes = list[tuple[Row[Any], dict[str, Any]]]
"""Devices, each with the columns that are to be others."""


def compare(connection: Connection, said: Said) -> Compared:
    """Find whom `put_in_force` would change; a transaction that only reads may do it."""
    change = changed_devices.newest(connection)
    found: list[int] = []
    seen: set[str] = set()
    for part in words_of_git.bearing(connection, said.organization):
        seen.update(row.slug for row in part)
        found += [row.seq for row, _ in said.changes_of(part)]
    names = sorted(n for n in said.devices if n not in seen and not said.is_kept(n))
    for part in words_of_git.named(connection, said.organization, names):
        found += [row.seq for row, _ in said.changes_of(part)]
    return Compared(said, tuple(found), change)


def put_in_force(connection: Connection, compared: Compared) -> list[Event]:
    """Bring the inventory in line with git; returns what that means for admission.

    Who came or changed since it was compared counts as it is now.
    """
    said = compared.said
    since = changed_devices.after(connection, compared.change, CHANGED_LIMIT)
    if since is None:
        compared, since = compare(connection, said), []
    told: list[Event] = []
    # A key that was renewed since is no such change: of a device that was in line with git it could
    # as well have been renewed just after the commit.
    seqs = sorted({*compared.differing, *since})
    for part in words_of_git.numbered(connection, said.organization, seqs):
        changes = said.changes_of(part)
        _write(connection, changes)
        admitted_anew = [(row, columns) for row, columns in changes if _is_admission(columns)]
        end_sessions(connection, [row.seq for row, _ in admitted_anew])
        told += [_event(row, columns) for row, columns in admitted_anew]
    return told


def _differing(row: Row[Any], git: GitDevice) -> dict[str, Any]:
    wanted: dict[str, Any] = {"labels_git": dict(git.labels), **_admission(row, git)}
    return {name: value for name, value in wanted.items() if getattr(row, name) != value}


def _write(connection: Connection, changes: _Changes) -> None:
    """One statement for all devices of which the same columns change."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    set_ids: dict[frozenset[tuple[str, str]], int] = {}
    for row, columns in changes:
        values = {f"new_{name}": value for name, value in columns.items()}
        if "labels_git" in columns:
            labels = merged(columns["labels_git"], row.labels_people, row.labels_join)
            of_set = frozenset(labels.items())
            if of_set not in set_ids:
                set_ids[of_set] = intern_labels(connection, labels)
            values["new_label_set_id"] = set_ids[of_set]
        alike.setdefault(tuple(values), []).append({**values, "of_device": row.seq})
    for names, rows in alike.items():
        changed: dict[str, Any] = {name.removeprefix("new_"): bindparam(name) for name in names}
        of_device = edge_devices.c.seq == bindparam("of_device")
        connection.execute(update(edge_devices).where(of_device).values(changed), rows)


def _is_admission(columns: Mapping[str, Any]) -> bool:
    return not columns.keys().isdisjoint(("state", "public_key"))


def _event(row: Row[Any], columns: Mapping[str, Any]) -> Event:
    if "public_key" in columns:
        return Event("device.key-changed", device=row.slug, message="git lists another key")
    kind = "device.revoked" if columns["state"] == DeviceState.REVOKED else "device.let-in"
    return Event(kind, device=row.slug, message="by its Device manifest")


def _admission(row: Row[Any], git: GitDevice) -> dict[str, Any]:
    """The columns of who may speak; a device that has no key gets none by a manifest."""
    values: dict[str, Any] = {}
    if git.public_key is not None and row.public_key is not None:
        is_other = git.public_key.raw.hex() != row.public_key
        values = admitted(git.public_key, KeyFrom.GIT) if is_other else {"key_from": KeyFrom.GIT}
    is_unlisted = row.key_from == KeyFrom.GIT and git.public_key is None
    is_revoked = git.is_revoked or is_unlisted
    state = state_of(
        deleted_at=None,
        is_revoked_in_git=is_revoked,
        revoked_at=values.get("revoked_at", row.revoked_at),
        duplicate_at=values.get("duplicate_at", row.duplicate_at),
    )
    return values | {"revoked_in_git": is_revoked, "state": state.value}
