"""The shapes of how a release is rolled out: strategies, batches, budgets."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from towline.manifests.shape_base import Shape, ShortForm, wrong
from towline.manifests.shape_filters import BatchFilters
from towline.manifests.shape_words import (
    Count,
    CountOrShare,
    Duration,
    LabelKey,
    Name,
    Percent,
    Share,
    Timeout,
)

REST = "rest"
"""The name of the batch that follows by itself."""


class ManualShape(Shape):
    """The named devices."""

    type: Literal["manual"]


class ImmediateShape(Shape):
    """Every device at once."""

    type: Literal["immediate"]


class CanaryShape(Shape):
    """A small share first, then the rest."""

    type: Literal["canary"]
    percentage: Percent = 10


class RollingShape(Shape):
    """Steps of equal size."""

    type: Literal["rolling"]
    batch_size: Share = 20
    min_devices: Count = 5


class BatchShape(Shape):
    """One batch of a list."""

    name: Name
    filters: BatchFilters | None = None
    size: Share
    success_threshold: Share | None = None
    soak: Duration | None = None
    approval: Literal["manual"] | None = None


def _growing(batches: list[BatchShape]) -> list[BatchShape]:
    """Names differ, and the shares of batches for everybody grow up to 100 % at most."""
    names: set[str] = set()
    reached = 0
    for at, batch in enumerate(batches):
        if batch.name in names:
            remedy = "give each batch a name of its own"
            raise wrong(f"two batches have the name {batch.name}", remedy, (at, "name"))
        if reached == 100:
            remedy = "remove it, or give the batch before it a smaller size"
            raise wrong("nothing is left for this batch after one of 100%", remedy, (at,))
        if batch.filters is None and batch.size <= reached:
            raise wrong(
                f"sizes are shares of the whole, and {reached}% is reached before this batch",
                f"write more than {reached}%",
                (at, "size"),
            )
        names.add(batch.name)
        reached = batch.size if batch.filters is None else reached
    if REST in names and not (batches[-1].name == REST and reached == 100):
        at = [batch.name for batch in batches].index(REST)
        raise wrong(f"{REST} is the name of what follows by itself", "rename it", (at, "name"))
    return batches


class BatchesShape(Shape):
    """Batches as listed; the rest follows by itself."""

    type: Literal["batches"]
    batches: Annotated[
        list[BatchShape], Field(min_length=1, max_length=100), AfterValidator(_growing)
    ]


STRATEGY_KEYS = {
    key: shape.__name__.removesuffix("Shape").lower()
    for shape in (CanaryShape, RollingShape, BatchesShape)
    for key in shape.yaml_keys()
    if key != "type"
}
"""Which strategy knows a key: for the one who wrote it to another."""


def _word_as_mapping(value: Any) -> Any:
    return value if isinstance(value, dict) else {"type": value}


StrategyShape = Annotated[
    ManualShape | ImmediateShape | CanaryShape | RollingShape | BatchesShape,
    Field(discriminator="type"),
]
Strategy = Annotated[
    StrategyShape,
    ShortForm(
        _word_as_mapping,
        {"type": "string", "enum": ["manual", "immediate", "canary", "rolling"]},
    ),
]


class OfflineShape(Shape):
    """When a device of the last batch is given up for now."""

    after: Timeout = 86400


class BudgetShape(Shape):
    """How many devices of a group may be away at once."""

    group_by: LabelKey
    max_unavailable: CountOrShare
