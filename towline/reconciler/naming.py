"""Which manifests in force name a device."""

from collections.abc import Iterator

from towline.manifests.model import Ownership
from towline.reconciler.head import Head


def named_in(head: Head, device: str) -> list[str]:
    """The files, in order: those whose filters name the device, and its own manifest."""
    return sorted(set(_files(head, device)))


def _files(head: Head, device: str) -> Iterator[str]:
    for manifest in head.deployments.values():
        if _names(manifest.ownership, device):
            yield manifest.file
    for group in head.groups.values():
        if _names(group.ownership, device):
            yield group.file
    if device in head.devices:
        yield head.devices[device].file


def _names(owner: Ownership, device: str) -> bool:
    return device in owner.devices or device in owner.exclude
