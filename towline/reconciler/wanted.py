"""What devices should run, per component: the rule, and the rows of the store that it rests on.

A granted target is installed, or goes back to what it came from. Else a selected one is prepared.
Else the pin is kept, else the newest run that the device completed, else what runs. Rows are read
for all devices at once; a run that many devices share is read once, and the rule is asked once for
all devices whose rows say the same.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select

from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.previous import Found, find_release
from towline.reconciler.store import tables as t
from towline.schemas.desired_state import ComponentAction
from towline.schemas.states import ACTIVE_TARGETS, BatchState, RunState, TargetState

_ACTIVE = frozenset(state.value for state in ACTIVE_TARGETS)
_COMPLETED = TargetState.COMPLETED.value


@dataclass(frozen=True, slots=True)
class Wanted:
    """One component of one device."""

    component: str
    action: ComponentAction
    run: Row[Any]
    """The run that wants it."""
    attempt: int
    offer: Offer
    """The offer that the release is of: with rollback and pins another run's."""
    release: OfferedRelease


def wanted_of(connection: Connection, devices: Sequence[Row[Any]]) -> dict[int, tuple[Wanted, ...]]:
    """What each device should run, by component; `devices` are rows of `edge_devices`.

    Devices that should do the same are given the very same.
    """
    seqs = [device.seq for device in devices]
    targets = _by_device(connection, _TARGETS, seqs)
    pins = _by_device(connection, _PINS, seqs)
    offers = _Offers(connection)
    made: dict[Hashable, tuple[Wanted, ...]] = {}
    found = {}
    for device in devices:
        own = (device.organization, targets[device.seq], pins[device.seq])
        alike = _without_device(*own)
        if alike not in made:
            made[alike] = _wanted_of(offers, *own)
        found[device.seq] = made[alike]
    return found


def _without_device(
    organization: str, targets: Sequence[Row[Any]], pins: Sequence[Row[Any]]
) -> Hashable:
    """All that the rule looks at: `device_seq` is each row's first."""
    return organization, tuple([row[1:] for row in targets]), tuple([row[1:] for row in pins])


def _by_device(
    connection: Connection, statement: Select[Any], device_seqs: Sequence[int]
) -> defaultdict[int, list[Row[Any]]]:
    """The rows of each device, in the statement's order."""
    found: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(statement, {"of_devices": device_seqs}).all():
        found[row.device_seq].append(row)
    return found


_IS_PREPARED_FOR = or_(
    t.runs.c.status == RunState.COMPLETED.value,
    and_(
        t.runs.c.status.in_((RunState.IN_PROGRESS.value, RunState.PAUSED.value)),
        t.batches.c.state != BatchState.FAILED.value,
    ),
)
_TARGETS = (
    select(
        t.targets.c.device_seq,
        t.targets.c.run_seq,
        t.targets.c.component,
        t.targets.c.status,
        t.targets.c.attempt,
        t.targets.c.sha256,
        t.targets.c.arm,
        t.targets.c.goes_back,
        t.targets.c.from_version,
        t.targets.c.from_sha256,
        t.targets.c.granted_at,
        t.targets.c.completed_at,
        _IS_PREPARED_FOR.label("is_prepared_for"),
    )
    .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
    .outerjoin(
        t.batches,
        and_(
            t.batches.c.run_seq == t.targets.c.run_seq,
            t.batches.c.number == t.targets.c.batch,
        ),
    )
    .where(
        t.targets.c.device_seq.in_(bindparam("of_devices", expanding=True)),
        t.targets.c.status.in_([*_ACTIVE, _COMPLETED]),
        t.runs.c.offer.is_not(None),
    )
    .order_by(t.targets.c.run_seq.desc())
)
"""The targets that may say what a device should run, the newest run first."""

_PINS = select(
    t.device_components.c.device_seq,
    t.device_components.c.component,
    t.device_components.c.pin_version,
    t.device_components.c.pin_sha256,
).where(
    t.device_components.c.device_seq.in_(bindparam("of_devices", expanding=True)),
    t.device_components.c.pin_sha256.is_not(None),
)


class _Offers:
    """The runs that devices are told of, each read once however many there are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._runs: dict[int, tuple[Row[Any], Offer]] = {}
        self._found: dict[tuple[str, str, str, str], Found | None] = {}

    def of_run(self, run_seq: int) -> tuple[Row[Any], Offer]:
        """A run, and what it offers."""
        if run_seq not in self._runs:
            run = self._connection.execute(_OF_RUN, {"of_run": run_seq}).one()
            self._runs[run_seq] = (run, Offer.parse(run.offer, run.target_version))
        return self._runs[run_seq]

    def find(self, organization: str, component: str, version: str, sha256: str) -> Found | None:
        """As `find_release`."""
        key = (organization, component, version, sha256)
        if key not in self._found:
            self._found[key] = find_release(self._connection, *key)
        return self._found[key]


_OF_RUN = select(t.runs).where(t.runs.c.seq == bindparam("of_run"))


def _wanted_of(
    offers: _Offers, organization: str, targets: Sequence[Row[Any]], pins: Sequence[Row[Any]]
) -> tuple[Wanted, ...]:
    pinned = {row.component: row for row in pins}
    found = []
    for component in sorted({*pinned, *(target.component for target in targets)}):
        own = [target for target in targets if target.component == component]
        wanted = _wanted(offers, organization, own, component, pinned.get(component))
        if wanted is not None:
            found.append(wanted)
    return tuple(found)


def _wanted(
    offers: _Offers,
    organization: str,
    targets: Sequence[Row[Any]],
    component: str,
    pin: Row[Any] | None,
) -> Wanted | None:
    granted = _first(each for each in targets if _is_granted(each))
    if granted is not None:
        return _granted(offers, organization, granted)
    selected = _first(each for each in targets if _is_selected(each))
    if selected is not None:
        return _of_target(offers, selected, ComponentAction.PREPARE)
    if pin is not None:
        found = offers.find(organization, component, pin.pin_version, pin.pin_sha256)
        return None if found is None else _pinned(component, found, targets)
    completed = [each for each in targets if each.status == _COMPLETED]
    if not completed:
        return None
    # By time and not by run: a device may pass to a Deployment whose run is the older one.
    last = max(completed, key=lambda each: (each.completed_at, each.run_seq))
    return _of_target(offers, last, ComponentAction.KEEP)


def _first(targets: Iterable[Row[Any]]) -> Row[Any] | None:
    return next(iter(targets), None)


def _is_granted(target: Row[Any]) -> bool:
    return target.granted_at is not None and target.status in _ACTIVE


def _is_selected(target: Row[Any]) -> bool:
    """To be downloaded and staged; what goes back waits for its grant."""
    is_pending = target.status == TargetState.PENDING.value and not target.goes_back
    return bool(is_pending and target.is_prepared_for)


def _granted(offers: _Offers, organization: str, target: Row[Any]) -> Wanted | None:
    if not target.goes_back:
        return _of_target(offers, target, ComponentAction.INSTALL)
    if target.from_version is None or target.from_sha256 is None:
        return None
    found = offers.find(organization, target.component, target.from_version, target.from_sha256)
    if found is None:
        return None
    run, _ = offers.of_run(target.run_seq)
    return Wanted(
        component=target.component,
        action=ComponentAction.ROLLBACK,
        run=run,
        attempt=target.attempt,
        offer=found.offer,
        release=found.release,
    )


def _pinned(component: str, found: Found, targets: Sequence[Row[Any]]) -> Wanted:
    attempts = [each.attempt for each in targets if each.run_seq == found.run.seq]
    return Wanted(
        component=component,
        action=ComponentAction.KEEP,
        run=found.run,
        attempt=attempts[0] if attempts else 1,
        offer=found.offer,
        release=found.release,
    )


def _of_target(offers: _Offers, target: Row[Any], action: ComponentAction) -> Wanted:
    run, offer = offers.of_run(target.run_seq)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return Wanted(target.component, action, run, target.attempt, offer, release)
