"""Keys of what is delivered that cannot stand together: packages, device types, arms.

Looks at a spec whose shape is right; each contradiction is a place, what is wrong and a way out.
"""

from collections.abc import Iterator

from towline.manifests.deployment import arms_of, packages_of
from towline.manifests.errors import Location
from towline.manifests.model import Arm, Package
from towline.manifests.shape import DeploymentSpec

Contradiction = tuple[Location, str, str]
"""Place, message, remedy."""

_Placed = tuple[Location, str, Package]
"""A package that is written down: its place, the version it belongs to, itself."""


def release_contradictions(spec: DeploymentSpec) -> Iterator[Contradiction]:
    """What cannot be delivered as it is written."""
    packages, arms = packages_of(spec), arms_of(spec)
    yield from _never_taken(packages)
    yield from _one_name_twice(_written(spec, packages, arms))
    yield from _types_without_package(spec, [arm.packages for arm in arms] or [packages])
    yield from _equal_arms(arms)


def _never_taken(packages: tuple[Package, ...]) -> Iterator[Contradiction]:
    for at, package in enumerate(packages):
        for earlier, other in enumerate(packages[:at]):
            if _fits_wherever(other, package):
                message = (
                    f"no device gets this package: packages[{earlier}] fits all of its devices"
                )
                remedy = "list it before the other, or give it `deviceTypes` or `labels` of its own"
                yield ("spec", "packages", at), message, remedy
                break


def _fits_wherever(other: Package, package: Package) -> bool:
    """True when `other` fits every device that `package` fits."""
    allowed = dict(package.labels)
    is_of_types = not other.device_types or (
        bool(package.device_types) and set(package.device_types) <= set(other.device_types)
    )
    return is_of_types and all(
        key in allowed and set(allowed[key]) <= set(values) for key, values in other.labels
    )


def _written(
    spec: DeploymentSpec, packages: tuple[Package, ...], arms: tuple[Arm, ...]
) -> Iterator[_Placed]:
    for at, package in enumerate(packages):
        yield ("spec", "package", "packages", at), spec.target_version, package
    for at, arm in enumerate(arms):
        if spec.experiment and spec.experiment.arms[at].package:
            way: Location = ("spec", "experiment", "arms", at, "package")
            yield way, arm.target_version, arm.packages[0]


def _one_name_twice(placed: Iterator[_Placed]) -> Iterator[Contradiction]:
    """A statement is named after version and file, so that two files would need the same one."""
    first: dict[tuple[str, str], str] = {}
    for way, version, package in placed:
        checksum = first.setdefault((version, package.file_name), package.sha256)
        if checksum != package.sha256:
            message = f"two packages of version {version} have the file name {package.file_name}"
            yield (*way, "url", "urls", 0), message, "give each file a name of its own"


def _types_without_package(
    spec: DeploymentSpec, deliveries: list[tuple[Package, ...]]
) -> Iterator[Contradiction]:
    for at, device_type in enumerate(spec.filters.device_type):
        if not all(_some_fits(packages, device_type) for packages in deliveries):
            message = f"no package is for the device type {device_type}"
            remedy = "remove it here, or add a package with it in `deviceTypes`"
            yield ("spec", "filters", "device_type", at), message, remedy


def _some_fits(packages: tuple[Package, ...], device_type: str) -> bool:
    return any(
        not package.device_types or device_type in package.device_types for package in packages
    )


def _equal_arms(arms: tuple[Arm, ...]) -> Iterator[Contradiction]:
    for at, arm in enumerate(arms):
        for other in arms[:at]:
            if _delivery(arm) == _delivery(other):
                message = f"arms {other.name} and {arm.name} deliver the same"
                remedy = "give one of them another `targetVersion` and `package`"
                yield ("spec", "experiment", "arms", at), message, remedy
                break


def _delivery(arm: Arm) -> tuple[object, ...]:
    return (
        arm.target_version,
        *((each.sha256, each.format, each.device_types, each.labels) for each in arm.packages),
    )
