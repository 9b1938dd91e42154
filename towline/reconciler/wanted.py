"""What a device should run, per component: the rule, and the rows of the store that it rests on.

A granted target is installed, or goes back to what it came from. Else a selected one is prepared.
Else the pin is kept, else the newest run that the device completed, else what runs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, or_, select

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


def wanted_of(connection: Connection, device: Row[Any]) -> list[Wanted]:
    """What a device should run, by component; `device` is its row of `edge_devices`."""
    targets = _targets(connection, device.seq)
    pins = {row.component: row for row in _pins(connection, device.seq)}
    found = []
    for component in sorted({*pins, *(target.component for target in targets)}):
        own = [target for target in targets if target.component == component]
        wanted = _wanted(connection, device, own, component, pins.get(component))
        if wanted is not None:
            found.append(wanted)
    return found


def _targets(connection: Connection, device_seq: int) -> Sequence[Row[Any]]:
    """The device's targets that may say what it should run, the newest run first."""
    return connection.execute(_OF_DEVICE, {"of_device": device_seq}).all()


_IS_PREPARED_FOR = or_(
    t.runs.c.status == RunState.COMPLETED.value,
    and_(
        t.runs.c.status.in_((RunState.IN_PROGRESS.value, RunState.PAUSED.value)),
        t.batches.c.state != BatchState.FAILED.value,
    ),
)
_OF_DEVICE = (
    select(
        t.targets,
        t.runs.c.revision,
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
        t.targets.c.device_seq == bindparam("of_device"),
        t.targets.c.status.in_([*_ACTIVE, _COMPLETED]),
        t.runs.c.offer.is_not(None),
    )
    .order_by(t.targets.c.run_seq.desc())
)


def _pins(connection: Connection, device_seq: int) -> Sequence[Row[Any]]:
    return connection.execute(_PINS, {"of_device": device_seq}).all()


_PINS = select(t.device_components).where(
    t.device_components.c.device_seq == bindparam("of_device"),
    t.device_components.c.pin_sha256.is_not(None),
)


def _wanted(
    connection: Connection,
    device: Row[Any],
    targets: Sequence[Row[Any]],
    component: str,
    pin: Row[Any] | None,
) -> Wanted | None:
    granted = _first(each for each in targets if _is_granted(each))
    if granted is not None:
        return _granted(connection, device, granted)
    selected = _first(each for each in targets if _is_selected(each))
    if selected is not None:
        return _of_target(connection, selected, ComponentAction.PREPARE)
    if pin is not None:
        found = find_release(
            connection, device.organization, component, pin.pin_version, pin.pin_sha256
        )
        return None if found is None else _pinned(component, found, targets)
    completed = [each for each in targets if each.status == _COMPLETED]
    if not completed:
        return None
    # By time and not by run: a device may pass to a Deployment whose run is the older one.
    last = max(completed, key=lambda each: (each.completed_at, each.run_seq))
    return _of_target(connection, last, ComponentAction.KEEP)


def _first(targets: Iterable[Row[Any]]) -> Row[Any] | None:
    return next(iter(targets), None)


def _is_granted(target: Row[Any]) -> bool:
    return target.granted_at is not None and target.status in _ACTIVE


def _is_selected(target: Row[Any]) -> bool:
    """To be downloaded and staged; what goes back waits for its grant."""
    is_pending = target.status == TargetState.PENDING.value and not target.goes_back
    return bool(is_pending and target.is_prepared_for)


def _granted(connection: Connection, device: Row[Any], target: Row[Any]) -> Wanted | None:
    if not target.goes_back:
        return _of_target(connection, target, ComponentAction.INSTALL)
    if target.from_version is None or target.from_sha256 is None:
        return None
    found = find_release(
        connection, device.organization, target.component, target.from_version, target.from_sha256
    )
    if found is None:
        return None
    return Wanted(
        component=target.component,
        action=ComponentAction.ROLLBACK,
        run=_run(connection, target.run_seq),
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


def _of_target(connection: Connection, target: Row[Any], action: ComponentAction) -> Wanted:
    run = _run(connection, target.run_seq)
    offer = Offer.parse(run.offer, run.target_version)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return Wanted(target.component, action, run, target.attempt, offer, release)


def _run(connection: Connection, run_seq: int) -> Row[Any]:
    return connection.execute(_OF_RUN, {"of_run": run_seq}).one()


_OF_RUN = select(t.runs).where(t.runs.c.seq == bindparam("of_run"))
