"""From the shapes of YAML to the frozen values of the model: pure, and never fails.

Whatever could be wrong was refused before, by the shapes and by `contradictions`.
"""

from typing import Any

from towline.manifests.expand import expand, rollout_percentage
from towline.manifests.filters import ownership_of
from towline.manifests.model import (
    Deployment,
    DeviceEntry,
    DeviceGroup,
    Eligibility,
    HealthCheck,
    Install,
    OnFailure,
    Package,
    Start,
    StartMode,
    StrategyKind,
)
from towline.manifests.revision import canonical_text, revision_id
from towline.manifests.shape import (
    DeploymentShape,
    DeploymentSpec,
    DeviceGroupShape,
    DeviceShape,
)
from towline.manifests.shape_release import HealthShape, PackageShape


def deployment_of(shape: DeploymentShape, file: str) -> Deployment:
    """The Deployment that a manifest describes."""
    spec, name = shape.spec, shape.metadata.name
    release = _release(spec)
    canonical = canonical_text(**release, requires=spec.requires)
    return Deployment(
        name=name,
        file=file,
        title=shape.metadata.title or name,
        labels=tuple(sorted(shape.metadata.labels.items())),
        revision=revision_id(canonical),
        canonical=canonical,
        **release,
        **_rollout(spec),
    )


def _release(spec: DeploymentSpec) -> dict[str, Any]:
    """What is delivered: these keys make the revision."""
    return {
        "component": spec.component,
        "target_version": spec.target_version,
        "allow_downgrade": spec.allow_downgrade,
        "packages": tuple(_package(entry) for entry in _packages(spec)),
        "install": Install(timeout_s=spec.install.timeout, reboot=spec.install.reboot),
        "health": tuple(_check(entry) for entry in spec.health),
    }


def _rollout(spec: DeploymentSpec) -> dict[str, Any]:
    """To whom and how."""
    filters = spec.filters
    return {
        "release_notes": spec.release_notes or "",
        "ownership": ownership_of(filters),
        "eligibility": Eligibility(filters.current_version, filters.status, spec.requires),
        "strategy": StrategyKind(spec.strategy.type),
        "rollout_percentage": rollout_percentage(spec.strategy),
        "batches": expand(
            spec.strategy, success_threshold=spec.success_threshold, soak_s=spec.soak
        ),
        "order": spec.order,
        "success_threshold": spec.success_threshold,
        "on_failure": OnFailure(spec.on_failure),
        "device_timeout_s": spec.device_timeout,
        "max_concurrent": spec.max_concurrent,
        "offline_after_s": spec.offline.after,
        "start": _start(spec.start),
        "paused": spec.paused,
    }


def _packages(spec: DeploymentSpec) -> list[PackageShape]:
    return [spec.package] if spec.package else spec.packages


def _package(shape: PackageShape) -> Package:
    return Package(urls=shape.addresses, sha256=shape.checksum, format=shape.format)


def _check(shape: HealthShape) -> HealthCheck:
    probes = {"http": shape.http, "tcp": shape.tcp, "script": shape.script}
    return HealthCheck(
        name=shape.name,
        probe={
            kind: probe if isinstance(probe, str) else probe.model_dump()
            for kind, probe in probes.items()
            if probe is not None
        },
        delay_s=shape.delay,
        period_s=shape.period,
        successes=shape.successes,
        timeout_s=shape.timeout,
    )


def _start(word: str | int) -> Start:
    return Start(StartMode.AT, word) if isinstance(word, int) else Start(StartMode(word))


def group_of(shape: DeviceGroupShape, file: str) -> DeviceGroup:
    """The group that a manifest describes."""
    return DeviceGroup(shape.metadata.name, file, ownership_of(shape.spec.filters))


def device_of(shape: DeviceShape, file: str) -> DeviceEntry:
    """The device that a manifest describes."""
    return DeviceEntry(
        name=shape.metadata.name,
        file=file,
        labels=tuple(sorted(shape.metadata.labels.items())),
        public_key=shape.spec.public_key,
        device_type=shape.spec.device_type,
        revoked=shape.spec.state == "revoked",
    )
