"""The shape of every manifest as it stands in YAML: all kinds, all keys, all defaults of v1.

Keys that are known and not built yet are marked `NotYet` or `Built`; the published JSON Schemas
are made from these classes.
"""

# ruff: noqa: RUF012 - pydantic copies the default of a field for every value

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from towline.manifests.shape_base import Built, NotYet, Shape
from towline.manifests.shape_filters import Filters, GroupFilters
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
    AnalysisShape,
    BudgetShape,
    CanaryShape,
    OfflineShape,
    Strategy,
    WindowShape,
)
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

API_VERSION = "towline/v1"
ApiVersion = Literal["towline/v1"]


class Metadata(Shape):
    """The name of anything."""

    name: Name


class DeploymentMetadata(Metadata):
    """What a Deployment is called."""

    title: Line | None = None
    labels: dict[LabelKey, LabelValue] = {}
    replaces: Annotated[list[Name], NotYet([])] = []


class DeploymentSpec(Shape):
    """What is delivered, to whom and how."""

    component: Name = "system"
    target_version: Version
    requires: VersionRange | None = None
    allow_downgrade: bool = False
    package: PackageShape | None = None
    packages: Annotated[list[PackageShape], NotYet([])] = []
    install: InstallShape = InstallShape()
    hooks: Annotated[HooksShape, NotYet(HooksShape())] = HooksShape()
    health: Annotated[list[HealthShape], AfterValidator(unique_names)] = []
    rollback: RollbackShape = RollbackShape()
    experiment: Annotated[ExperimentShape | None, NotYet()] = None

    release_notes: Prose | None = None
    filters: Filters = Filters()
    max_devices: Annotated[Count | None, NotYet()] = None
    strategy: Strategy = CanaryShape(type="canary")
    order: Literal["salted", "name"] = "salted"
    soak: Duration = 0
    success_threshold: Share = 95
    on_failure: Annotated[Literal["pause", "abort", "rollback"], Built(("pause", "abort"))] = (
        "pause"
    )
    safe_mode: Annotated[bool, NotYet(False)] = False
    device_timeout: Timeout = 3600
    progress_deadline: Annotated[Timeout, NotYet(48 * 3600)] = 48 * 3600
    max_concurrent: Count = 1000
    disruption_budget: Annotated[BudgetShape | None, NotYet()] = None
    offline: OfflineShape = OfflineShape()
    windows: Annotated[list[WindowShape], NotYet([])] = []
    start: StartWord = "automatic"
    paused: bool = False
    self_heal: Annotated[bool, NotYet(True)] = True
    analysis: Annotated[list[AnalysisShape], NotYet([])] = []


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


class FreezeSpec(Shape):
    """When nothing is installed on some devices."""

    windows: Annotated[list[WindowShape], Field(min_length=1)]
    filters: GroupFilters = GroupFilters()
    reason: Line


class FreezeShape(Shape):
    """Days on which nothing is installed. Not supported yet."""

    api_version: ApiVersion
    kind: Literal["Freeze"]
    metadata: Metadata
    spec: FreezeSpec


class SoakRule(Shape):
    """The least soak of some devices."""

    labels: dict[LabelKey, LabelValue]
    soak: Duration


class ApprovalRule(Shape):
    """How many operators must agree."""

    above_devices: Count
    count: Count


class StaleGit(Shape):
    """What happens when git does not answer."""

    alert_after: Timeout = 900
    hold_after: Timeout = 86400


class PolicySpec(Shape):
    """What no manifest may exceed."""

    package_hosts: list[Line] = []
    max_devices: Count | None = None
    max_share_first_batch: Share | None = None
    min_soak: list[SoakRule] = []
    allow_strategies: list[Literal["manual", "immediate", "canary", "rolling", "batches"]] = []
    max_removed: Share = 50
    stale_plan: Share = 10
    api_commits: Literal["branch", "direct"] = "branch"
    approvals: list[ApprovalRule] = []
    stale_git: StaleGit = StaleGit()


class PolicyShape(Shape):
    """The rules of a repository or folder. Not supported yet."""

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
NOT_YET_KINDS = frozenset({"Freeze", "Policy"})
