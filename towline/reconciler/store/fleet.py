"""The inventory as a run sees it: owned devices counted in groups of equal condition.

All that decides whether a device gets a release is one whole number, so that a million devices
are grouped without a join or a text; `selecting` takes devices by the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    select,
    true,
)

from towline.manifests.model import Ownership
from towline.reconciler.store.columns import sum_of, unindexed
from towline.reconciler.store.ownership import Claim, Groups, claimed, owned_by
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import (
    component_versions,
    deployment_counts,
    device_components,
    device_state,
    edge_devices,
    label_sets,
    targets,
)
from towline.reconciler.store.ties import OF_ALL
from towline.schemas.states import ACTIVE_TARGETS

OWNED_BY_OTHER = "OwnedByOther"
"""The one skip that comes back: when the other's claim is over, the device is new to the run."""

NO_RELEASE = -1


@dataclass(frozen=True, slots=True)
class Affine:
    """`position = (seq + off) * mul % p`; devices numbered from `p` on come after all others."""

    p: int
    mul: int
    off: int

    def of(self, seq: ColumnElement[int]) -> ColumnElement[int]:
        """The position of a device as SQL."""
        return case((seq < self.p, (seq + self.off) * self.mul % self.p), else_=seq)


@dataclass(frozen=True, slots=True)
class Portion:
    """The devices that one of the run's releases is for: owned by all of `owners`."""

    sha256: str
    rollback_index: int
    arm: str | None = None
    owners: tuple[Ownership, ...] = ()
    points: tuple[int, int] | None = None
    """From, and to (exclusive): where the devices of its arm stand in `Choice.spread`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which devices a question is about: owned by `owner`, of `component`, not in `run_seq`."""

    organization: str
    deployment: str
    revision: str
    owner: Ownership
    within: Ownership | None
    """The batch's own filters, if any."""
    groups: Groups
    component: str
    run_seq: int
    seen_after: int
    """Seen lately means: not before this time."""
    claims: tuple[Claim, ...] = ()
    """Of other Deployments of the component."""
    portions: tuple[Portion, ...] = ()
    """Of the run's releases, in their order: a device gets the first one that is for it."""
    spread: Affine | None = None
    """Of an experiment."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What decides whether a device needs a release and may get it."""

    version: str | None
    release: int | None = 0
    """Which of the run's releases is for it; None: none is."""
    has_checksum: bool = False
    """Runs a package with that release's checksum."""
    is_known_bad: bool = False
    """That release failed on it before."""
    is_above_index: bool = False
    """Committed a higher rollback index than that release has."""
    is_pinned: bool = False
    """Sent back from this very revision by a person."""
    is_claimed: bool = False
    """Another Deployment's claim stands."""


@dataclass(frozen=True, slots=True)
class ConditionGroup:
    """So many owned devices that have no target in the run are in one condition."""

    condition: Condition
    is_seen: bool
    is_busy: bool
    """Has an active target of the same component in another run."""
    is_installing: bool
    """That target is granted: soon the device may run something else."""
    n: int
    key: int
    """What the condition and the flags are as one number."""


_SEEN, _BUSY, _INSTALLING, _PINNED, _CLAIMED, _FLAGS = 1, 2, 4, 8, 16, 32
_CHECKSUM, _BAD, _INDEX, _RELEASE = 1, 2, 4, 8


def count_owned(connection: Connection, choice: Choice) -> int:
    """How many devices the filters own, in the run or not."""

    def ask() -> int:
        statement = select(func.count()).select_from(edge_devices).where(owned(connection, choice))
        return connection.execute(statement).scalar_one()

    about = (choice.organization, choice.owner, choice.within, choice.groups)
    return remembered(connection, "owned", about, [edge_devices, label_sets], ask)


def has_more_than(connection: Connection, organization: str, run_seq: int) -> bool:
    """False when every device of the organization is in the run: no filter need be asked then.

    A device of which the run only says who else owns it may still enter.
    """
    devices = select(func.count()).where(edge_devices.c.organization == organization)
    total = remembered(
        connection,
        "devices",
        organization,
        [edge_devices],
        lambda: connection.execute(devices).scalar_one(),
    )
    in_run = select(sum_of(deployment_counts.c.n)).where(
        deployment_counts.c.run_seq == run_seq, deployment_counts.c.reason != OWNED_BY_OTHER
    )
    return bool(total > connection.execute(in_run).scalar_one())


def conditions(connection: Connection, choice: Choice) -> list[ConditionGroup]:
    """The owned devices without a target in the run, grouped by condition."""
    return remembered(connection, "conditions", choice, _MADE_OF, lambda: _ask(connection, choice))


_MADE_OF = (
    edge_devices, label_sets, device_state, device_components, component_versions, targets,
)  # fmt: skip
"""Of a run only what never changes is asked."""


def _ask(connection: Connection, choice: Choice) -> list[ConditionGroup]:
    if not has_more_than(connection, choice.organization, choice.run_seq):
        return []
    key = key_of(connection, choice).label("key")
    rows = connection.execute(
        select(key, func.count())
        .select_from(joined(choice))
        .where(owned(connection, choice), is_new(connection, choice))
        .group_by(key)
    ).all()
    names = _versions(connection, choice.component)
    return [_group(choice, names, key, n) for key, n in rows]


def _versions(connection: Connection, component: str) -> dict[int, str]:
    versions = component_versions
    rows = connection.execute(
        select(versions.c.id, versions.c.version).where(versions.c.component == component)
    )
    return {row.id: row.version for row in rows}


def _group(choice: Choice, names: dict[int, str], key: int, n: int) -> ConditionGroup:
    rest, flags = divmod(key, _FLAGS)
    version, release_key = divmod(rest, _releases(choice))
    release, marks = divmod(release_key, _RELEASE)
    condition = Condition(
        version=names.get(version),
        release=release - 1 if release else None,
        has_checksum=bool(marks & _CHECKSUM),
        is_known_bad=bool(marks & _BAD),
        is_above_index=bool(marks & _INDEX),
        is_pinned=bool(flags & _PINNED),
        is_claimed=bool(flags & _CLAIMED),
    )
    return ConditionGroup(
        condition=condition,
        is_seen=bool(flags & _SEEN),
        is_busy=bool(flags & _BUSY),
        is_installing=bool(flags & _INSTALLING),
        n=n,
        key=key,
    )


def owned(connection: Connection, choice: Choice) -> ColumnElement[bool]:
    """The device is active and the filters own it."""
    parts = [
        _in_organization(choice),
        edge_devices.c.state == "active",
        owned_by(connection, choice.owner, choice.groups),
    ]
    if choice.within is not None:
        parts.append(owned_by(connection, choice.within, choice.groups))
    return and_(*parts)


def _in_organization(choice: Choice) -> ColumnElement[bool]:
    organization: ColumnElement[str] = edge_devices.c.organization
    if choice.owner.devices or (choice.within and choice.within.devices):
        return organization == choice.organization
    # Not by an index, nor out of one alone, which names and labels would ask of SQLite: what is
    # joined lies in the order of the table, and in any other most of a large fleet is a jump each.
    return and_(unindexed(organization) == choice.organization, edge_devices.c.slug != "")


def is_new(connection: Connection, choice: Choice) -> ColumnElement[bool]:
    """The device has no target in the run, or one that only says who else owns it."""
    mine = targets.alias("mine")
    in_run = mine.c.run_seq == choice.run_seq
    if not connection.execute(select(exists(select(literal(1)).where(in_run)))).scalar_one():
        return true()
    return ~exists(
        select(literal(1)).where(
            mine.c.device_seq == edge_devices.c.seq,
            in_run,
            mine.c.reason != OWNED_BY_OTHER,
        )
    )


def joined(choice: Choice) -> Any:
    """What a condition is made of."""
    return edge_devices.join(
        device_state, device_state.c.device_seq == edge_devices.c.seq
    ).outerjoin(
        device_components,
        and_(
            device_components.c.device_seq == edge_devices.c.seq,
            device_components.c.component == choice.component,
        ),
    )


def key_of(connection: Connection, choice: Choice) -> ColumnElement[int]:
    """A device's condition and flags as one number."""
    version = func.coalesce(device_components.c.version_id, 0)
    release = _release_key(connection, choice)
    return (version * _releases(choice) + release) * _FLAGS + _flags(connection, choice)


def release_index(choice: Choice, key: ColumnElement[int]) -> ColumnElement[int]:
    """Which release a key stands for, or NO_RELEASE."""
    return key // _FLAGS % _releases(choice) // _RELEASE + NO_RELEASE


def _releases(choice: Choice) -> int:
    return (len(choice.portions) + 1) * _RELEASE


def _flags(connection: Connection, choice: Choice) -> ColumnElement[int]:
    components = device_components.c
    is_pinned = and_(components.pin_sha256.is_not(None), components.pin_revision == choice.revision)
    flags = _weight(device_state.c.last_seen >= choice.seen_after, _SEEN)
    flags += _weight(is_pinned, _PINNED)
    if choice.claims:
        claim = claimed(
            connection,
            choice.organization,
            choice.component,
            choice.deployment,
            choice.claims,
            choice.groups,
        )
        flags += _weight(claim, _CLAIMED)
    return flags + _activity(connection, choice)


def _activity(connection: Connection, choice: Choice) -> ColumnElement[int]:
    """What another run does with the device; there is at most one such target."""
    other = targets.alias("other")
    is_active = and_(
        other.c.component == choice.component,
        # Literals, not parameters: else the partial index is not used.
        other.c.status.in_([literal_column(f"'{state}'") for state in ACTIVE_TARGETS]),
        other.c.run_seq != choice.run_seq,
    )
    # Of any organization: whether to ask at all is a question of time alone.
    is_any = select(exists(select(literal(1)).where(is_active))).execution_options(**OF_ALL)
    if not connection.execute(is_any).scalar_one():
        return literal(0)
    weight = case((other.c.granted_at.is_(None), _BUSY), else_=_BUSY + _INSTALLING)
    found = select(weight).where(other.c.device_seq == edge_devices.c.seq, is_active)
    return func.coalesce(found.correlate(edge_devices).scalar_subquery(), 0)


def _release_key(connection: Connection, choice: Choice) -> ColumnElement[int]:
    """The first release that is for the device, with what the device knows of it."""
    cases: list[tuple[ColumnElement[bool], ColumnElement[int]]] = []
    for number, portion in enumerate(choice.portions, 1):
        is_for = _is_for(connection, choice, portion)
        marks = _marks(portion) + number * _RELEASE
        if is_for is None:
            return case(*cases, else_=marks) if cases else marks
        cases.append((is_for, marks))
    return case(*cases, else_=0) if cases else literal(0)


def _is_for(connection: Connection, choice: Choice, portion: Portion) -> ColumnElement[bool] | None:
    """None: for every device."""
    parts = [
        owned_by(connection, owner, choice.groups)
        for owner in portion.owners
        if owner != Ownership()
    ]
    if portion.points is not None and choice.spread is not None:
        position = choice.spread.of(edge_devices.c.seq)
        parts += [position >= portion.points[0], position < portion.points[1]]
    return and_(*parts) if parts else None


def _marks(portion: Portion) -> ColumnElement[int]:
    components = device_components.c
    return (
        _weight(components.sha256 == portion.sha256, _CHECKSUM)
        + _weight(components.known_bad == portion.sha256, _BAD)
        + _weight(components.rollback_index > portion.rollback_index, _INDEX)
    )


def _weight(holds: ColumnElement[bool], weight: int) -> ColumnElement[int]:
    return case((holds, weight), else_=0)


def keys_of(groups: Sequence[ConditionGroup]) -> list[int]:
    """The numbers of groups, for `selecting`."""
    return sorted(group.key for group in groups)
