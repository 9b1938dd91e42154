"""What a run offers its devices: the package with its statement, and how to install and check it.

It is kept with the run, so that a device's document is built from the store alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towline.manifests.model import Deployment
from towline.schemas import envelope, statement
from towline.schemas.problems import Refused
from towline.schemas.root import Root
from towline.schemas.statement import Statement


@dataclass(frozen=True, slots=True)
class Offer:
    """One release as a run delivers it."""

    urls: tuple[str, ...]
    sha256: str
    size: int
    rollback_index: int
    device_types: tuple[str, ...]
    statement: dict[str, Any]
    """The envelope as JSON carries it."""
    install_timeout_s: int
    device_timeout_s: int
    health: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {
            "urls": list(self.urls),
            "sha256": self.sha256,
            "size": self.size,
            "rollbackIndex": self.rollback_index,
            "deviceTypes": list(self.device_types),
            "statement": self.statement,
            "installTimeout": self.install_timeout_s,
            "deviceTimeout": self.device_timeout_s,
            "health": list(self.health),
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "Offer":
        """From the store."""
        return cls(
            urls=tuple(document["urls"]),
            sha256=document["sha256"],
            size=document["size"],
            rollback_index=document["rollbackIndex"],
            device_types=tuple(document["deviceTypes"]),
            statement=document["statement"],
            install_timeout_s=document["installTimeout"],
            device_timeout_s=document["deviceTimeout"],
            health=tuple(document["health"]),
        )


def find_offer(
    manifest: Deployment, files: Mapping[str, bytes], root: Root
) -> tuple[Offer | None, str]:
    """The offer of a manifest by the statements of its commit, or what is missing or differs."""
    package = manifest.packages[0]
    path = statement.statement_path(manifest.component, manifest.target_version, package.file_name)
    sign_line = (
        f"towline release sign {package.file_name} --component {manifest.component}"
        f" --version {manifest.target_version} --repo ."
    )
    data = files.get(path)
    if data is None:
        return None, f"{path} is missing; sign the package and commit it: {sign_line}"
    try:
        sealed = envelope.parse(data)
        word = statement.verify(sealed, root.release)
    except Refused as refused:
        return None, f"{path} is not to be trusted: {refused}"
    if problem := _misfit(manifest, word, root):
        return None, f"{path}: {problem}"
    return _offer(manifest, word, sealed.document()), ""


def _misfit(manifest: Deployment, word: Statement, root: Root) -> str:
    return statement.misfit(
        word,
        organization=root.organization,
        component=manifest.component,
        version=manifest.target_version,
        sha256=manifest.packages[0].sha256,
        package_format=manifest.packages[0].format,
    )


def _offer(manifest: Deployment, word: Statement, sealed: dict[str, Any]) -> Offer:
    return Offer(
        urls=manifest.packages[0].urls,
        sha256=word.sha256,
        size=word.size,
        rollback_index=word.rollback_index,
        device_types=word.device_types,
        statement=sealed,
        install_timeout_s=manifest.install.timeout_s,
        device_timeout_s=manifest.device_timeout_s,
        health=tuple(check.document() for check in manifest.health),
    )
