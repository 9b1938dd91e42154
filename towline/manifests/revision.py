"""The canonical form of what a Deployment delivers, and the revision id made of it.

The form is JSON with only the "what" keys, and final: today's ids hold for ever. Rules:
- Only what differs from its v1 default stands in it; keys of later versions appear only when used.
- Packages are a list of `{file, sha256}`, and `format`, `deviceTypes`, `labels` (both sorted), the
  file being the last part of the first address; other addresses, hosts and folders do not count.
- An arm is `{name, weight}`, and `targetVersion`, `packages` where they are not the Deployment's.
- Durations are whole seconds, checksums lower-case hex, ranges in the text of `Range`.
- Keys are sorted by code point, no spaces, UTF-8 as it is (nothing escaped that JSON need not).
The id is the SHA-256 of that text in UTF-8, as 64 hex digits.
"""

import hashlib
import json
from typing import Any

from towline.manifests.model import Arm, HealthCheck, Install, Package

_COMPONENT_DEFAULT = "system"
_INSTALL_DEFAULTS = {"timeout": 600, "reboot": "never"}
_CHECK_DEFAULTS = {"delay": 0, "period": 5, "successes": 1, "timeout": 60}
_HTTP_DEFAULTS = {"path": "/", "status": 200}
"""v1 defaults, which never change; written out here so that no edit elsewhere moves an id."""


def canonical_text(
    *,
    component: str,
    target_version: str,
    requires: str | None,
    allow_downgrade: bool,
    packages: tuple[Package, ...],
    install: Install,
    health: tuple[HealthCheck, ...],
    rolls_back: bool,
    arms: tuple[Arm, ...],
) -> str:
    """The canonical JSON text of what is delivered."""
    content = {
        "component": None if component == _COMPONENT_DEFAULT else component,
        "targetVersion": target_version,
        "requires": requires,
        "allowDowngrade": allow_downgrade,
        "packages": [_package(package) for package in packages],
        "install": _install(install),
        "health": [_check(check) for check in health],
        "rollback": None if rolls_back else {"automatic": False},
        "experiment": [_arm(arm, target_version, packages) for arm in arms],
    }
    used = {key: value for key, value in content.items() if value}
    return json.dumps(used, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def revision_id(canonical: str) -> str:
    """64 hex digits."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def _package(package: Package) -> dict[str, Any]:
    content: dict[str, Any] = {"file": package.file_name, "sha256": package.sha256}
    if package.format != "script":
        content["format"] = package.format
    if package.device_types:
        content["deviceTypes"] = list(package.device_types)
    if package.labels:
        content["labels"] = {key: list(values) for key, values in package.labels}
    return content


def _arm(arm: Arm, target_version: str, packages: tuple[Package, ...]) -> dict[str, Any]:
    content: dict[str, Any] = {"name": arm.name, "weight": arm.weight}
    if arm.target_version != target_version:
        content["targetVersion"] = arm.target_version
    delivered = [_package(package) for package in arm.packages]
    if delivered != [_package(package) for package in packages]:
        content["packages"] = delivered
    return content


def _install(install: Install) -> dict[str, Any]:
    return _without({"timeout": install.timeout_s, "reboot": install.reboot}, _INSTALL_DEFAULTS)


def _check(check: HealthCheck) -> dict[str, Any]:
    probe = dict(check.probe)
    if "http" in probe:
        probe["http"] = _without(probe["http"], _HTTP_DEFAULTS)
    return _without({**check.document(), **probe}, _CHECK_DEFAULTS)


def _without(content: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if defaults.get(key) != value}
