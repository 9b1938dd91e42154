"""The shape of every manifest as it stands in YAML: all kinds, all keys, all defaults of v1.

Keys that are known and not built yet are marked `NotYet` or `Built`; the published JSON Schemas
are made from these classes.
"""

# ruff: noqa: RUF012 - pydantic copies the default of a field for every value

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from towline.manifests.shape_analysis import AnalysisShape, unique_questions
from towline.manifests.shape_base import NotYet, Shape
from towline.manifests.shape_filters import Filters, GroupFilters
from towline.manifests.shape_policy import FreezeSpec, PolicySpec
from towline.manifests.shape_release import (
    ExperimentShape,
    HealthShape,
    HooksShape,
    InstallShape,
    PackageShape,
    RollbackShape,
    unique_names,
)
from towline.manifests.shape_rollout import (
    BudgetShape,
    CanaryShape,
    OfflineShape,
    Strategy,
)
from towline.manifests.shape_windows import WindowShape
from towline.manifests.shape_words import (
    Count,
    DeviceTypeName,
    Duration,
    LabelKey,
    LabelValue,
    Line,
    Name,
    Prose,
    PublicKeyText,
    Share,
    StartWord,
    Timeout,
    Version,
    VersionRange,
)
from towline.schemas.windows import WINDOWS_LIMIT

API_VERSION = "towline/v1"
ApiVersion = Literal["towline/v1"]


class Metadata(Shape):
    """The name of anything."""

    name: Name


class DeploymentMetadata(Metadata):
    """What a Deployment is called."""

    title: Line | None = None
    labels: dict[LabelKey, LabelValue] = {}
    replaces: list[Name] = []


class DeploymentSpec(Shape):
    """What is delivered, to whom and how."""

    component: Name = "system"
    target_version: Version
    requires: VersionRange | None = None
    allow_downgrade: bool = False
    package: PackageShape | None = None
    packages: Annotated[list[PackageShape], Field(max_length=100)] = []
    install: InstallShape = InstallShape()
    hooks: Annotated[HooksShape, NotYet(HooksShape())] = HooksShape()
    health: Annotated[list[HealthShape], AfterValidator(unique_names)] = []
    rollback: RollbackShape = RollbackShape()
    experiment: ExperimentShape | None = None

    release_notes: Prose | None = None
    filters: Filters = Filters()
    max_devices: Count | None = None
    strategy: Strategy = CanaryShape(type="canary")
    order: Literal["salted", "name"] = "salted"
    soak: Duration = 0
    success_threshold: Share = 95
    on_failure: Literal["pause", "abort", "rollback"] = "pause"
    safe_mode: bool = False
    device_timeout: Timeout = 3600
    progress_deadline: Timeout = 48 * 3600
    max_concurrent: Count = 1000
    disruption_budget: BudgetShape | None = None
    offline: OfflineShape = OfflineShape()
    windows: Annotated[list[WindowShape], Field(max_length=WINDOWS_LIMIT)] = []
    start: StartWord = "automatic"
    paused: bool = False
    self_heal: bool = True
    analysis: Annotated[
        list[AnalysisShape], Field(max_length=20), AfterValidator(unique_questions)
    ] = []


class DeploymentShape(Shape):
    """A rollout."""

    api_version: ApiVersion
    kind: Literal["Deployment"]
    metadata: DeploymentMetadata
    spec: DeploymentSpec


class GroupSpec(Shape):
    """Which devices a group holds."""

    filters: GroupFilters


class DeviceGroupShape(Shape):
    """A named filter."""

    api_version: ApiVersion
    kind: Literal["DeviceGroup"]
    metadata: Metadata
    spec: GroupSpec


class DeviceMetadata(Metadata):
    """A device's id and labels."""

    labels: dict[LabelKey, LabelValue] = {}


class DeviceSpec(Shape):
    """Who a device is."""

    public_key: PublicKeyText | None = None
    device_type: DeviceTypeName | None = None
    state: Literal["active", "revoked"] = "active"


class DeviceShape(Shape):
    """A device as a pull request; without a public key it is only labelled."""

    api_version: ApiVersion
    kind: Literal["Device"]
    metadata: DeviceMetadata
    spec: DeviceSpec = DeviceSpec()


class FreezeShape(Shape):
    """Days on which nothing is installed."""

    api_version: ApiVersion
    kind: Literal["Freeze"]
    metadata: Metadata
    spec: FreezeSpec


class PolicyShape(Shape):
    """The rules of a repository or folder."""

    api_version: ApiVersion
    kind: Literal["Policy"]
    metadata: Metadata
    spec: PolicySpec


SHAPES: dict[str, type[Shape]] = {
    "Deployment": DeploymentShape,
    "DeviceGroup": DeviceGroupShape,
    "Device": DeviceShape,
    "Freeze": FreezeShape,
    "Policy": PolicyShape,
}
