"""The shapes of filters: which devices are owned, and which of them are asked for."""

# ruff: noqa: RUF012 - pydantic copies the default of a field for every value

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from towline.manifests.model import Operator
from towline.manifests.shape_base import Shape, wrong
from towline.manifests.shape_words import (
    DeviceTypeName,
    LabelKey,
    LabelValue,
    Name,
    OneOrMore,
    VersionRange,
)

Labels = dict[LabelKey, Annotated[list[LabelValue], Field(min_length=1), OneOrMore]]
"""Each equal to a value, or to one of a list."""


class ExpressionShape(Shape):
    """`{key: stage, operator: In, values: [production]}`."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _values_fit_the_operator(self) -> Self:
        needs_values = self.operator in (Operator.IN, Operator.NOT_IN)
        if needs_values and not self.values:
            raise wrong(f"{self.operator} compares with no values", "add values: [A, B]")
        if self.values and not needs_values:
            raise wrong(f"{self.operator} takes no values", "remove `values`", ("values",))
        return self


class GroupFilters(Shape):
    """What a DeviceGroup may ask: groups do not nest, and versions change under them."""

    model_config = ConfigDict(alias_generator=None)

    device_type: Annotated[list[DeviceTypeName], OneOrMore] = []
    labels: Labels = {}
    expressions: list[ExpressionShape] = []
    devices: list[Name] = []
    exclude: list[Name] = []

    @model_validator(mode="after")
    def _nothing_is_named_and_excluded(self) -> Self:
        both = sorted(set(self.devices) & set(self.exclude))
        if both:
            at = ("exclude", self.exclude.index(both[0]))
            raise wrong(f"{both[0]} is named and excluded", "remove it from one of the lists", at)
        return self


class BatchFilters(GroupFilters):
    """What a batch of its own may ask: ownership, groups included."""

    group: Annotated[list[Name], OneOrMore] = []


class Filters(BatchFilters):
    """What a Deployment may ask: ownership, and what is asked once at selection."""

    current_version: VersionRange | None = None
    status: Literal["online", "offline"] | None = None
