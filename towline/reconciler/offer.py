"""What a run offers its devices: its packages with their statements, and how they are installed.

It is kept with the run, so that a device's document is built from the store alone. Which device
gets which of the releases is asked when it is selected (`scope`, `arms`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from towline.manifests.model import Deployment
from towline.schemas import window_words
from towline.schemas.windows import Window

Labels = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class OfferedRelease:
    """One package with its statement, and the devices that it is for; empty parts: any."""

    version: str
    sha256: str
    size: int
    urls: tuple[str, ...]
    statement: dict[str, Any]
    """The envelope as JSON carries it."""
    rollback_index: int = 0
    arm: str | None = None
    """The side of the experiment that it belongs to."""
    signed_types: tuple[str, ...] = ()
    """Device types that the statement allows."""
    device_types: tuple[str, ...] = ()
    """Device types that the manifest gives it to."""
    labels: Labels = ()

    def document(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {
            "arm": self.arm,
            "version": self.version,
            "sha256": self.sha256,
            "size": self.size,
            "urls": list(self.urls),
            "statement": self.statement,
            "rollbackIndex": self.rollback_index,
            "signedTypes": list(self.signed_types),
            "deviceTypes": list(self.device_types),
            "labels": {key: list(values) for key, values in self.labels},
        }


@dataclass(frozen=True, slots=True)
class Offer:
    """What a run delivers: at least one release, the first that fits a device is its own."""

    releases: tuple[OfferedRelease, ...]
    install_timeout_s: int
    device_timeout_s: int
    health: tuple[dict[str, Any], ...]
    rolls_back: bool = True
    windows: tuple[Window, ...] = ()

    def release(self, sha256: str | None, arm: str | None = None) -> OfferedRelease | None:
        """The release with this checksum, the arm's own if there is one; None: the first one.

        Targets of former versions say no checksum: their runs have one package only.
        """
        if sha256 is None:
            return self.releases[0]
        same = [each for each in self.releases if each.sha256 == sha256]
        return next((each for each in same if each.arm == arm), same[0] if same else None)

    def document(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {
            "releases": [each.document() for each in self.releases],
            "installTimeout": self.install_timeout_s,
            "deviceTimeout": self.device_timeout_s,
            "health": list(self.health),
            "rollback": self.rolls_back,
            "windows": [window_words.document(window) for window in self.windows],
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any], target_version: str) -> "Offer":
        """From the store; a run of a former version holds one package, of `target_version`."""
        releases = document.get("releases")
        return cls(
            releases=tuple(_release(each) for each in releases)
            if releases is not None
            else (_only_release(document, target_version),),
            install_timeout_s=document["installTimeout"],
            device_timeout_s=document["deviceTimeout"],
            health=tuple(document["health"]),
            rolls_back=document.get("rollback", True),
            windows=window_words.parse(document.get("windows", [])),
        )


def _release(document: Mapping[str, Any]) -> OfferedRelease:
    return OfferedRelease(
        version=document["version"],
        sha256=document["sha256"],
        size=document["size"],
        urls=tuple(document["urls"]),
        statement=document["statement"],
        rollback_index=document["rollbackIndex"],
        arm=document["arm"],
        signed_types=tuple(document["signedTypes"]),
        device_types=tuple(document["deviceTypes"]),
        labels=tuple((key, tuple(values)) for key, values in document["labels"].items()),
    )


def _only_release(document: Mapping[str, Any], version: str) -> OfferedRelease:
    return OfferedRelease(
        version=version,
        sha256=document["sha256"],
        size=document["size"],
        urls=tuple(document["urls"]),
        statement=document["statement"],
        rollback_index=document["rollbackIndex"],
        signed_types=tuple(document["deviceTypes"]),
    )


def offer_of(manifest: Deployment, releases: Sequence[OfferedRelease]) -> Offer:
    """The releases together with how the manifest installs them."""
    return Offer(
        releases=tuple(releases),
        install_timeout_s=manifest.install.timeout_s,
        device_timeout_s=manifest.device_timeout_s,
        health=tuple(check.document() for check in manifest.health),
        rolls_back=manifest.rolls_back,
        windows=manifest.windows,
    )


def retuned(kept: Offer, manifest: Deployment) -> Offer:
    """A run's offer with what is tuning as the manifest says now: URLs, deviceTimeout, windows."""
    packages = [
        *((None, package) for package in manifest.packages),
        *((arm.name, package) for arm in manifest.arms for package in arm.packages),
    ]
    urls = {(arm, package.sha256): package.urls for arm, package in packages}
    return replace(
        kept,
        releases=tuple(
            replace(each, urls=urls.get((each.arm, each.sha256), each.urls))
            for each in kept.releases
        ),
        device_timeout_s=manifest.device_timeout_s,
        windows=manifest.windows,
    )
