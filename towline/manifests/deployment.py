"""From the shapes of YAML to the frozen values of the model: pure, and never fails.

Whatever could be wrong was refused before, by the shapes and by `contradictions`.
"""

from typing import Any

from towline.manifests.expand import expand, rollout_percentage
from towline.manifests.filters import ownership_of, sorted_labels
from towline.manifests.model import (
    Analysis,
    Arm,
    Budget,
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
from towline.manifests.shape_analysis import AnalysisShape
from towline.manifests.shape_release import HealthShape, PackageShape
from towline.manifests.shape_rollout import BudgetShape
from towline.manifests.window_values import window_of


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
        replaces=tuple(sorted(set(shape.metadata.replaces))),
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
        "packages": packages_of(spec),
        "install": Install(timeout_s=spec.install.timeout, reboot=spec.install.reboot),
        "health": checks_of(spec),
        "rolls_back": spec.rollback.automatic,
        "arms": arms_of(spec),
    }


def _rollout(spec: DeploymentSpec) -> dict[str, Any]:
    """To whom and how."""
    filters = spec.filters
    return {
        "release_notes": spec.release_notes or "",
        "ownership": ownership_of(filters),
        "eligibility": Eligibility(filters.current_version, filters.status, spec.requires),
        "max_devices": spec.max_devices,
        "strategy": StrategyKind(spec.strategy.type),
        "rollout_percentage": rollout_percentage(spec.strategy),
        "batches": expand(
            spec.strategy, success_threshold=spec.success_threshold, soak_s=spec.soak
        ),
        "order": spec.order,
        "start": _start(spec.start),
        **_limits(spec),
    }


def _limits(spec: DeploymentSpec) -> dict[str, Any]:
    """What a run waits for, and what stops it."""
    return {
        "success_threshold": spec.success_threshold,
        "on_failure": OnFailure(spec.on_failure),
        "safe_mode": spec.safe_mode,
        "device_timeout_s": spec.device_timeout,
        "progress_deadline_s": spec.progress_deadline,
        "max_concurrent": spec.max_concurrent,
        "budget": _budget(spec.disruption_budget) if spec.disruption_budget else None,
        "offline_after_s": spec.offline.after,
        "windows": tuple(window_of(entry) for entry in spec.windows),
        "paused": spec.paused,
        "self_heal": spec.self_heal,
        "analysis": tuple(_analysis(entry) for entry in spec.analysis),
    }


def packages_of(spec: DeploymentSpec) -> tuple[Package, ...]:
    """`package` or `packages`, in the order in which they are tried on a device."""
    listed = [spec.package] if spec.package else spec.packages
    return tuple(_package(entry) for entry in listed)


def arms_of(spec: DeploymentSpec) -> tuple[Arm, ...]:
    """The arms of an experiment; what one does not say is that of the Deployment."""
    common = packages_of(spec)
    return tuple(
        Arm(
            name=arm.name,
            weight=arm.weight,
            target_version=arm.target_version or spec.target_version,
            packages=(_package(arm.package),) if arm.package else common,
        )
        for arm in (spec.experiment.arms if spec.experiment else ())
    )


def checks_of(spec: DeploymentSpec) -> tuple[HealthCheck, ...]:
    """The health checks in order."""
    return tuple(_check(entry) for entry in spec.health)


def _package(shape: PackageShape) -> Package:
    return Package(
        urls=shape.addresses,
        sha256=shape.checksum,
        format=shape.format,
        device_types=tuple(sorted(set(shape.device_types))),
        labels=sorted_labels(shape.labels),
    )


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


def _budget(shape: BudgetShape) -> Budget:
    amount, is_share = shape.max_unavailable
    return Budget(shape.group_by, amount, is_share)


def _analysis(shape: AnalysisShape) -> Analysis:
    comparison, bound = shape.pass_
    return Analysis(
        name=shape.name,
        url=shape.http.url,
        value=shape.http.value,
        comparison=comparison,
        bound=bound,
        interval_s=shape.interval,
        count=shape.count,
    )


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
