"""Ownership: each part of a filter, and groups."""

import pytest

from towline.manifests.filters import FilterableDevice, owns, owns_labels
from towline.manifests.model import DeviceGroup, Expression, Operator, Ownership

_DEVICE = FilterableDevice("pi-1", "rpi4", {"stage": "lab", "store": "s1"})
_GROUPS = {
    "lab": DeviceGroup("lab", "g.yaml", Ownership(labels=(("stage", ("lab",)),))),
    "shop": DeviceGroup("shop", "g.yaml", Ownership(labels=(("stage", ("shop",)),))),
    "others": DeviceGroup("others", "g.yaml", Ownership(exclude=("pi-1",))),
}


@pytest.mark.parametrize(
    ("ownership", "is_owned"),
    [
        (Ownership(), True),
        (Ownership(device_types=("rpi3", "rpi4")), True),
        (Ownership(device_types=("rpi3",)), False),
        (Ownership(labels=(("store", ("s1", "s2")),)), True),
        (Ownership(labels=(("store", ("s2",)),)), False),
        (Ownership(labels=(("store", ("s1",)), ("stage", ("shop",)))), False),
        (Ownership(labels=(("absent", ("s1",)),)), False),
        (Ownership(devices=("pi-1", "pi-2")), True),
        (Ownership(devices=("pi-2",)), False),
        (Ownership(devices=("pi-1",), device_types=("rpi3",)), False),
        (Ownership(exclude=("pi-1",)), False),
        (Ownership(groups=("lab",)), True),
        (Ownership(groups=("shop",)), False),
        (Ownership(groups=("shop", "lab")), True),
        (Ownership(groups=("others",)), False),
        (Ownership(groups=("unknown",)), False),
        (Ownership(groups=("lab",), device_types=("rpi3",)), False),
    ],
)
def test_a_device_is_owned_when_every_part_holds(ownership: Ownership, is_owned: bool) -> None:
    assert owns(ownership, _GROUPS, _DEVICE) is is_owned


@pytest.mark.parametrize(
    ("operator", "values", "when_equal", "when_other", "when_absent"),
    [
        (Operator.IN, ("x",), True, False, False),
        (Operator.NOT_IN, ("x",), False, True, True),
        (Operator.EXISTS, (), True, True, False),
        (Operator.DOES_NOT_EXIST, (), False, False, True),
    ],
)
def test_expressions_select_as_in_kubernetes(
    operator: Operator,
    values: tuple[str, ...],
    when_equal: bool,
    when_other: bool,
    when_absent: bool,
) -> None:
    ownership = Ownership(expressions=(Expression("key", operator, values),))
    assert owns_labels(ownership, {"key": "x"}) is when_equal
    assert owns_labels(ownership, {"key": "y"}) is when_other
    assert owns_labels(ownership, {"else": "x"}) is when_absent


def test_several_expressions_must_all_hold() -> None:
    exists, absent = (
        Expression("stage", Operator.EXISTS),
        Expression("store", Operator.DOES_NOT_EXIST),
    )
    assert owns_labels(Ownership(expressions=(exists,)), _DEVICE.labels)
    assert not owns_labels(Ownership(expressions=(exists, absent)), _DEVICE.labels)
