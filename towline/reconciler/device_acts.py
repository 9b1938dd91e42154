"""What people do to one device of a run: name it, send it back and pin it, try it again."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from towline.manifests.policy import over_devices, policy_for
from towline.reconciler.acts import check_newest, find_run
from towline.reconciler.head import Head
from towline.reconciler.laid_over import with_overrides
from towline.reconciler.previous import can_go_back
from towline.reconciler.refusals import NotAllowed, Unknown
from towline.reconciler.run_changes import record_for
from towline.reconciler.store import dirt, outbox, pins, runs, ways_back
from towline.reconciler.store import tables as t
from towline.reconciler.store.causes import because
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event
from towline.reconciler.store.overrides import Person, lay_override
from towline.schemas.states import ACTIVE_TARGETS, LIVE_RUNS, RunState, TargetState, Verb

_RETRIED_SKIPS = ("KnownBad", "Excluded", "OfflineDeferred", "Cancelled")
"""Of all skips these are no word against the release on this device."""
DEVICE_VERBS = (Verb.START, Verb.ROLLBACK, Verb.RETRY)


def act_on_device(
    store: Store,
    organization: str,
    run_id: UUID,
    device: str,
    verb: Verb,
    *,
    author: str,
    reason: str,
    now: int,
    previous_version: str | None = None,
    head: Head | None = None,
) -> set[int]:
    """Carry out a verb on one device; returns the devices whose documents change.

    `previous_version`, with rollback, must be what the device came from. `head` is in force; its
    limits hold for whom start names. Raises NotAllowed or Unknown; nothing changed then.
    """
    who = Person(author, reason, now)
    with store.write() as connection:
        because(connection, f"{verb} by {author}", now)
        run = find_run(connection, organization, run_id)
        check_newest(connection, run)
        seq = _find_device(connection, organization, device)
        target = connection.execute(
            select(t.targets).where(t.targets.c.run_seq == run.seq, t.targets.c.device_seq == seq)
        ).first()
        match verb:
            case Verb.START:
                _name(connection, run, device, who, head)
            case Verb.ROLLBACK:
                _send_back(connection, run, target, previous_version, who)
            case Verb.RETRY:
                _try_again(connection, run, seq, target)
            case _:
                raise NotAllowed(f"{verb} is not for one device; allowed: start, rollback, retry")
        event = Event(f"verb.{verb}", device=device, message=reason)
        record_for(connection, run, event, now=now)
        dirt.mark(connection, organization, run.deployment)
        outbox.ring(connection, {seq})
    return {seq}


def _find_device(connection: Connection, organization: str, device: str) -> int:
    found = connection.execute(
        select(t.edge_devices.c.seq).where(
            t.edge_devices.c.organization == organization, t.edge_devices.c.slug == device
        )
    ).scalar_one_or_none()
    if found is None:
        raise Unknown(device)
    return int(found)


def _name(
    connection: Connection, run: Row[Any], device: str, who: Person, head: Head | None
) -> None:
    """One more device of strategy manual; it stays named for the runs to come."""
    if run.rollout_strategy != "manual":
        raise NotAllowed(
            f"{run.deployment} takes its devices by strategy {run.rollout_strategy};"
            " single devices are named where it is manual"
        )
    if RunState(run.status) not in LIVE_RUNS | {RunState.COMPLETED}:
        raise NotAllowed(f"the run is {run.status}; `retry` begins the next one")
    lay_override(connection, run, "device", device, who)
    if head is not None and (problem := _too_many(connection, head, run.deployment)):
        raise NotAllowed(f"{problem}: `maxDevices` is raised by a commit")
    if run.status == RunState.PENDING.value:
        runs.set_on_run(connection, run.seq, start_requested=True)


def _too_many(connection: Connection, head: Head, deployment: str) -> str:
    """Why so many devices may not be named; empty when they may."""
    manifest = with_overrides(connection, head, deployment).deployments.get(deployment)
    if manifest is None:
        return ""
    policy = policy_for(head.policies, manifest.file)
    return over_devices(manifest, policy, len(manifest.ownership.devices))


def _send_back(
    connection: Connection,
    run: Row[Any],
    target: Row[Any] | None,
    previous_version: str | None,
    who: Person,
) -> None:
    if target is None or target.status != TargetState.COMPLETED.value:
        state = target.status if target else "no target of this run"
        raise NotAllowed(f"the device did not complete this run: it is {state}")
    if target.from_sha256 is None:
        raise NotAllowed("the device ran nothing before its update; available: nothing")
    if not can_go_back(connection, target):
        raise NotAllowed(
            f"the device came from {target.from_version}, which it may not run again: no statement"
            " of it is known here, or the device has committed a higher rollback index since;"
            " available: nothing"
        )
    if previous_version not in (None, target.from_version):
        raise NotAllowed(
            f"the device cannot go back to {previous_version}; available: {target.from_version}"
        )
    pins.pin(connection, target, run.revision, who.name)
    ways_back.send_back(connection, run.seq, [target.device_seq], who.now)


def _try_again(connection: Connection, run: Row[Any], seq: int, target: Row[Any] | None) -> None:
    is_pinned = pins.unpin(connection, seq, run.component)
    if target is None:
        if not is_pinned:
            raise NotAllowed("the device has no target in this run")
        return
    if TargetState(target.status) in ACTIVE_TARGETS:
        raise NotAllowed("the device is at it already")
    if target.status == TargetState.COMPLETED.value:
        raise NotAllowed("the device completed this run")
    if target.status == TargetState.SKIPPED.value and target.reason not in _RETRIED_SKIPS:
        raise NotAllowed(f"the device is skipped as {target.reason}: a retry does not change that")
    if RunState(run.status) not in LIVE_RUNS | {RunState.COMPLETED} or run.goes_back:
        raise NotAllowed(f"the run is {run.status}; `retry` without --device begins the next one")
    ways_back.attempt_again(
        connection,
        run.seq,
        t.targets.c.device_seq == seq,
        (TargetState.FAILED, TargetState.ROLLED_BACK, TargetState.SKIPPED),
    )
