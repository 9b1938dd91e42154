"""Device manifests as the store takes them."""

from collections.abc import Mapping

from towline.manifests.model import DeviceEntry
from towline.reconciler.store.git_devices import GitDevice
from towline.schemas.keys import PublicKey


def git_device(entry: DeviceEntry | None) -> GitDevice | None:
    """What admission needs of a Device manifest."""
    if entry is None:
        return None
    key = PublicKey.from_text(entry.public_key) if entry.public_key else None
    return GitDevice(dict(entry.labels), key, entry.revoked)


def git_devices(entries: Mapping[str, DeviceEntry]) -> dict[str, GitDevice]:
    """All of a head, by id."""
    found = {name: git_device(entry) for name, entry in entries.items()}
    return {name: device for name, device in found.items() if device is not None}
