"""Which devices a filter owns: pure rules over labels, type, id and groups.

The store evaluates the label part once per distinct set of labels (`owns_labels`) and the rest
in SQL; `owns` is the whole rule for one device. Parts that are empty do not restrict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from towline.manifests.model import DeviceGroup, Expression, Operator, Ownership
from towline.manifests.shape_filters import BatchFilters, ExpressionShape, GroupFilters


@dataclass(frozen=True, slots=True)
class FilterableDevice:
    """What filters ask of a device."""

    id: str
    device_type: str
    labels: Mapping[str, str]


def owns(ownership: Ownership, groups: Mapping[str, DeviceGroup], device: FilterableDevice) -> bool:
    """True when every part of the filter holds; a group that is not known owns nothing."""
    if device.id in ownership.exclude:
        return False
    if ownership.devices and device.id not in ownership.devices:
        return False
    if ownership.device_types and device.device_type not in ownership.device_types:
        return False
    if ownership.groups and not any(
        name in groups and owns(groups[name].ownership, {}, device) for name in ownership.groups
    ):
        return False
    return owns_labels(ownership, device.labels)


def owns_labels(ownership: Ownership, labels: Mapping[str, str]) -> bool:
    """The part of `owns` that depends on labels alone."""
    return all(labels.get(key) in values for key, values in ownership.labels) and all(
        _holds(expression, labels) for expression in ownership.expressions
    )


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    """As Kubernetes selects: NotIn and DoesNotExist hold where the label is absent."""
    value = labels.get(expression.key)
    match expression.operator:
        case Operator.IN:
            return value in expression.values
        case Operator.NOT_IN:
            return value not in expression.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None


def ownership_of(shape: GroupFilters) -> Ownership:
    """The owning part of what stands in YAML, in one order, so that equal filters are equal."""
    return Ownership(
        device_types=_sorted(shape.device_type),
        groups=_sorted(shape.group) if isinstance(shape, BatchFilters) else (),
        labels=sorted_labels(shape.labels),
        expressions=tuple(_expression(entry) for entry in shape.expressions),
        devices=_sorted(shape.devices),
        exclude=_sorted(shape.exclude),
    )


def sorted_labels(labels: Mapping[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Labels with the values that each may have, in one order."""
    return tuple(sorted((key, _sorted(values)) for key, values in labels.items()))


def _sorted(words: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _expression(shape: ExpressionShape) -> Expression:
    return Expression(shape.key, Operator(shape.operator), _sorted(shape.values))


def may_overlap(one: Ownership, other: Ownership) -> bool:
    """False where no device, of today or later, can be owned by both."""
    pairs = [
        (one.device_types, other.device_types),
        (one.devices, other.devices),
        *((values, dict(other.labels).get(key, ())) for key, values in one.labels),
    ]
    if set(one.devices) <= set(other.exclude) and one.devices:
        return False
    return all(not a or not b or set(a) & set(b) for a, b in pairs)
