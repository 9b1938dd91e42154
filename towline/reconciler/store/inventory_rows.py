"""Many devices written into a private store at once, with labels and versions interned.

For SQLite only: rows go to the driver as they are, because a hundred thousand of them must not
take longer than the question that is asked of them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

from towline.reconciler.store import remembered
from towline.reconciler.store.tables import (
    component_versions,
    device_components,
    device_state,
    device_tokens,
    edge_devices,
    label_sets,
)
from towline.reconciler.store.version_key import version_key
from towline.schemas import strict_json
from towline.schemas.identifiers import device_uuid


@dataclass(frozen=True, slots=True)
class InventoryComponent:
    """What a device runs of one component."""

    name: str
    version: str | None
    sha256: str | None
    rollback_index: int
    known_bad: str | None
    pin_version: str | None
    pin_sha256: str | None


@dataclass(frozen=True, slots=True)
class InventoryDevice:
    """One device; times are seconds since the epoch."""

    seq: int
    slug: str
    device_type: str
    state: str
    time_zone: str | None
    last_seen: int | None
    labels: Mapping[str, str]
    labels_git: Mapping[str, str]
    """Those of `labels` that a Device manifest gave."""
    components: tuple[InventoryComponent, ...]
    is_old: bool = False
    """It holds a token and verifies no signature."""


@dataclass(slots=True)
class Rows:
    """Rows by table, as the driver takes them."""

    organization: str
    now: int
    devices: list[tuple[Any, ...]] = field(default_factory=list)
    states: list[tuple[Any, ...]] = field(default_factory=list)
    parts: list[tuple[Any, ...]] = field(default_factory=list)
    tokens: list[tuple[Any, ...]] = field(default_factory=list)
    """Of old devices; nobody knows one that has this digest."""
    label_ids: dict[str, int] = field(default_factory=dict)
    version_ids: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, device: InventoryDevice) -> None:
        """Take in one device."""
        labels = orjson.dumps(dict(device.labels), option=orjson.OPT_SORT_KEYS).decode()
        joined = {k: v for k, v in device.labels.items() if k not in device.labels_git}
        self.devices.append(
            (
                device.seq,
                device_uuid(self.organization, device.slug).hex,
                device.slug,
                self.organization,
                device.device_type,
                self.label_ids.setdefault(labels, len(self.label_ids) + 1),
                orjson.dumps(dict(device.labels_git)).decode(),
                "{}",
                orjson.dumps(joined).decode(),
                device.state,
                device.time_zone,
                self.now,
            )
        )
        self.states.append((device.seq, device.last_seen, "{}"))
        self.parts += [self._part(device.seq, part) for part in device.components]
        if device.is_old:
            self.tokens.append((device.seq, f"{device.seq:064}", "", self.now))

    def _part(self, seq: int, part: InventoryComponent) -> tuple[Any, ...]:
        version = None
        if part.version is not None:
            key = (part.name, part.version)
            version = self.version_ids.setdefault(key, len(self.version_ids) + 1)
        return (
            seq,
            part.name,
            version,
            part.sha256,
            part.rollback_index,
            part.known_bad,
            part.pin_version,
            part.pin_sha256,
        )


_DEVICE = (
    "seq", "id", "slug", "organization", "device_type", "label_set_id", "labels_git",
    "labels_people", "labels_join", "state", "time_zone", "created_at",
)  # fmt: skip
_PART = (
    "device_seq", "component", "version_id", "sha256", "rollback_index", "known_bad",
    "pin_version", "pin_sha256",
)  # fmt: skip

_TOKEN = ("device_seq", "digest", "author", "created_at")


def fill(connection: Connection, rows: Rows) -> None:
    """Write them all."""
    sets = [(number, _digest(text), text) for text, number in rows.label_ids.items()]
    _insert(connection, label_sets, ("id", "digest", "labels"), sets)
    versions = [
        (number, component, version, version_key(version))
        for (component, version), number in rows.version_ids.items()
    ]
    columns = ("id", "component", "version", "version_key")
    _insert(connection, component_versions, columns, versions)
    _insert(connection, edge_devices, _DEVICE, rows.devices)
    _insert(connection, device_state, ("device_seq", "last_seen", "facts"), rows.states)
    _insert(connection, device_components, _PART, rows.parts)
    _insert(connection, device_tokens, _TOKEN, rows.tokens)
    remembered.forget(connection)


def _digest(labels: str) -> str:
    """As `labels.intern_labels` makes it, so that the same set is found again."""
    return hashlib.sha256(strict_json.canonical(orjson.loads(labels))).hexdigest()


def _insert(
    connection: Connection, table: Table, columns: Iterable[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    if rows:
        names = list(columns)
        text = str(table.insert().compile(dialect=sqlite.dialect(), column_keys=names))
        connection.exec_driver_sql(text, list(rows))
