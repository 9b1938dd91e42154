"""Device manifests in force: what git says of the labels, the keys and the admission of devices.

A key that git lists is admitted by git alone: another one in its place becomes the device's key,
and where none is listed any more the device is revoked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select, update

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


_UNSAID = GitDevice()


def put_in_force(
    connection: Connection,
    organization: str,
    devices: Mapping[str, GitDevice],
    is_kept: Callable[[str], bool],
) -> list[Event]:
    """Bring the inventory in line with the manifests; returns what that means for admission.

    Devices that `is_kept` names stay as they are.
    """
    rows = connection.execute(
        select(edge_devices).where(
            edge_devices.c.organization == organization,
            edge_devices.c.state != DeviceState.DELETED.value,
        )
    ).all()
    told = [
        _set_device(connection, row, devices.get(row.slug, _UNSAID))
        for row in rows
        if not is_kept(row.slug)
    ]
    return [event for event in told if event is not None]


def _set_device(connection: Connection, row: Row[Any], git: GitDevice) -> Event | None:
    wanted: dict[str, Any] = {"labels_git": dict(git.labels), **_admission(row, git)}
    changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not changed:
        return None
    if "labels_git" in changed:
        labels = merged(git.labels, row.labels_people, row.labels_join)
        changed["label_set_id"] = intern_labels(connection, labels)
    connection.execute(update(edge_devices).where(edge_devices.c.seq == row.seq).values(**changed))
    if not changed.keys() & {"state", "public_key"}:
        return None
    end_sessions(connection, [row.seq])
    if "public_key" in changed:
        return Event("device.key-changed", device=row.slug, message="git lists another key")
    kind = "device.revoked" if changed["state"] == DeviceState.REVOKED else "device.let-in"
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
