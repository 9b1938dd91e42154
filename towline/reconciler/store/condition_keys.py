"""What a release depends on at one device, as one whole number and as what the number says.

All that decides whether a device gets a release is that number, so that a million devices are
grouped without a join or a text; `selecting` takes devices by the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    select,
)

from towline.manifests.model import Ownership
from towline.reconciler.store.choice import Choice, Portion
from towline.reconciler.store.ownership import claimed, owned_by
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import (
    deployment_counts,
    device_components,
    device_state,
    edge_devices,
    runs,
    targets,
)
from towline.reconciler.store.targets import stands_active
from towline.reconciler.store.ties import OF_ALL
from towline.schemas.states import ACTIVE_TARGETS

NO_RELEASE = -1


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
            choice.owner,
            choice.claims,
            choice.groups,
        )
        flags += _weight(claim, _CLAIMED)
    return flags + _activity(connection, choice)


_IS_ANY_ACTIVE = select(
    exists(
        select(literal(1))
        .select_from(runs)
        .join(deployment_counts, deployment_counts.c.run_seq == runs.c.seq)
        .where(
            runs.c.component == bindparam("of_component"),
            runs.c.seq != bindparam("of_run"),
            deployment_counts.c.status.in_([state.value for state in ACTIVE_TARGETS]),
        )
    )
).execution_options(**OF_ALL)
"""Whether another run of the component is at work, of any organization: to ask at all is a question
of time alone."""


def _activity(connection: Connection, choice: Choice) -> ColumnElement[int]:
    """What another run does with the device; there is at most one such target."""
    other = targets.alias("other")
    is_active = and_(
        other.c.component == choice.component,
        stands_active(other),
        other.c.run_seq != choice.run_seq,
    )
    about = {"of_component": choice.component, "of_run": choice.run_seq}
    if not remembered(
        connection,
        "active",
        about,
        [targets],
        lambda: connection.execute(_IS_ANY_ACTIVE, about).scalar_one(),
    ):
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


def group_of(choice: Choice, names: Mapping[int, str], key: int, n: int) -> ConditionGroup:
    """What a key says; `names` are the versions by their number."""
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


def keys_of(groups: Sequence[ConditionGroup]) -> list[int]:
    """The numbers of groups, for `selecting`."""
    return sorted(group.key for group in groups)
