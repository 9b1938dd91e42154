"""The shapes of Freeze and Policy: what holds over many Deployments."""

# ruff: noqa: RUF012 - pydantic copies the default of a field for every value

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from towline.manifests.shape_base import Shape, Words, wrong
from towline.manifests.shape_filters import GroupFilters
from towline.manifests.shape_windows import WindowShape, only_denies
from towline.manifests.shape_words import (
    Count,
    LabelKey,
    LabelValue,
    Line,
    Share,
    Timeout,
    duration_text,
    is_host,
    said,
    text_of,
)
from towline.schemas.windows import WINDOWS_LIMIT


def _host(value: Any) -> str:
    text = text_of(value, "a host").lower()
    if not is_host(text):
        remedy = "write the host alone, without scheme, port and path: cdn.example.com"
        raise wrong(f"{said(value)} is no host", remedy)
    return text


class FreezeSpec(Shape):
    """When nothing is installed on some devices."""

    windows: Annotated[
        list[WindowShape],
        Field(min_length=1, max_length=WINDOWS_LIMIT),
        AfterValidator(only_denies),
    ]
    filters: GroupFilters = GroupFilters()
    reason: Line


class SoakRule(Shape):
    """The least soak of some devices; without labels, of all."""

    labels: dict[LabelKey, LabelValue] = {}
    soak: Timeout


class ApprovalRule(Shape):
    """How many operators must agree."""

    above_devices: Annotated[int, Field(ge=0, le=10_000_000)]
    count: Annotated[int, Field(ge=1, le=100)]


class StaleGit(Shape):
    """What happens when git does not answer."""

    alert_after: Timeout = 900
    hold_after: Timeout = 86400

    @model_validator(mode="after")
    def _alerts_before_it_holds(self) -> Self:
        if self.hold_after < self.alert_after:
            message = f"holdAfter is shorter than alertAfter, {duration_text(self.alert_after)}"
            raise wrong(message, "write a holdAfter of at least alertAfter", ("holdAfter",))
        return self


class PolicySpec(Shape):
    """What no manifest may exceed."""

    package_hosts: list[Annotated[str, Words(_host, {"type": "string"})]] = []
    max_devices: Count | None = None
    max_share_first_batch: Share | None = None
    min_soak: list[SoakRule] = []
    allow_strategies: list[Literal["manual", "immediate", "canary", "rolling", "batches"]] = []
    max_removed: Share = 50
    stale_plan: Share = 10
    api_commits: Literal["branch", "direct"] = "branch"
    approvals: list[ApprovalRule] = []
    stale_git: StaleGit = StaleGit()
