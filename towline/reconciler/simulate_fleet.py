"""A made-up fleet that one Deployment's filters own, to simulate without an inventory.

Every device has the first value that each filter allows. Where a batch has filters of its own, a
twentieth of the devices satisfies them; a tenth has each label that a rate is given for; of the
label that a disruptionBudget groups by, ten devices at a time share a value.
"""

from collections.abc import Mapping, Sequence

from towline.manifests.model import Deployment, DeviceGroup, Operator, Ownership
from towline.manifests.version import NotComparable, Range
from towline.reconciler.failure_model import LabelledRate
from towline.reconciler.head import Head
from towline.reconciler.store import inventory_rows, repositories
from towline.reconciler.store.engine import Store
from towline.reconciler.store.inventory_rows import InventoryComponent, InventoryDevice
from towline.reconciler.store.private_copy import empty_copy

GROUP_SIZE = 10
_OF_BATCH, _OF_RATE = 20, 10
_OLD, _OLD_SHA256 = "0.0.0", "00" * 32


def made_up_store(
    head: Head, manifest: Deployment, devices: int, rates: Sequence[LabelledRate], now: int
) -> Store:
    """A private store with so many devices, all in touch at `now`."""
    store = empty_copy()
    rows = inventory_rows.Rows(head.organization, now)
    for seq in range(1, devices + 1):
        rows.add(_device(head, manifest, seq, rates, now))
    with store.write() as connection:
        repositories.ensure(connection, head.organization, "", "", "", now)
        inventory_rows.fill(connection, rows)
    return store


def _device(
    head: Head, manifest: Deployment, seq: int, rates: Sequence[LabelledRate], now: int
) -> InventoryDevice:
    package = manifest.packages[0] if manifest.packages else manifest.arms[0].packages[0]
    of_package = Ownership(device_types=package.device_types, labels=package.labels)
    owners = [*_with_groups(manifest.ownership, head.groups), of_package]
    types = [each.device_types[0] for each in owners if each.device_types]
    version = _former_version(manifest)
    return InventoryDevice(
        seq=seq,
        slug=_slug(manifest.ownership, seq),
        device_type=types[0] if types else "generic",
        state="active",
        time_zone=None,
        last_seen=now,
        labels=_labels(head, manifest, owners, seq, rates),
        labels_git={},
        components=()
        if version is None
        else (InventoryComponent(manifest.component, version, _OLD_SHA256, 0, None, None, None),),
    )


def _slug(owner: Ownership, seq: int) -> str:
    """Named devices come first."""
    return owner.devices[seq - 1] if seq <= len(owner.devices) else f"device-{seq:07}"


def _labels(
    head: Head,
    manifest: Deployment,
    owners: Sequence[Ownership],
    seq: int,
    rates: Sequence[LabelledRate],
) -> dict[str, str]:
    found: dict[str, str] = {}
    if manifest.budget is not None:
        found[manifest.budget.group_by] = f"group-{seq // GROUP_SIZE}"
    for at, rate in enumerate(rates):
        if seq % _OF_RATE == at % _OF_RATE:
            found[rate.key] = rate.value
    own = [plan.ownership for plan in manifest.batches if plan.ownership is not None]
    for at, owner in enumerate(own, start=1):
        if seq % _OF_BATCH == at % _OF_BATCH:
            owners = [*owners, *_with_groups(owner, head.groups)]
    for each in owners:
        found |= _allowed(each)
    return found


def _with_groups(owner: Ownership, groups: Mapping[str, DeviceGroup]) -> list[Ownership]:
    """The filter, and that of the first group which it names."""
    return [owner, *(groups[name].ownership for name in owner.groups[:1] if name in groups)]


def _allowed(owner: Ownership) -> dict[str, str]:
    """The first labels that the filter allows; what must be absent stays absent."""
    found = {key: values[0] for key, values in owner.labels}
    for expression in owner.expressions:
        if expression.operator is Operator.IN:
            found.setdefault(expression.key, expression.values[0])
        elif expression.operator is Operator.EXISTS:
            found.setdefault(expression.key, "yes")
    return found


def _former_version(manifest: Deployment) -> str | None:
    """What the devices run before: a version that may be updated; None: nothing."""
    eligibility = manifest.eligibility
    ranges = [
        Range.parse(text) for text in (eligibility.requires, eligibility.current_version) if text
    ]
    bounds = [term.version for each in ranges for term in each.terms]
    for version in (_OLD, *bounds):
        if version != manifest.target_version and _matches(ranges, version):
            return version
    return None


def _matches(ranges: Sequence[Range], version: str) -> bool:
    try:
        return all(each.matches(version) for each in ranges)
    except NotComparable:
        return False
