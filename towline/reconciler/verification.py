"""Verified, not installed: what a device says that it runs, against what it completed.

Only a report sent after `completed` that still shows the version makes a target count as passed.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.store import dirt, grants, inventory
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.reporters import Reporter
from towline.reconciler.store.targets import change_one, move_one
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState


def compare_versions(
    connection: Connection,
    now: int,
    reporter: Reporter,
    versions: Mapping[str, Installed],
    own: Row[Any] | None,
) -> None:
    """A report sent after `completed` that shows the wanted version makes it verified."""
    for component, installed in versions.items():
        target = _last_completed(connection, reporter.seq, component)
        if target is None or (own is not None and own.component == component):
            continue
        if target.verified_at is None and _is_wanted(target, installed):
            _verify(connection, now, reporter, target)
        elif target.verified_at is not None and not _is_wanted(target, installed):
            _regress(connection, now, reporter, target, installed)


def _last_completed(connection: Connection, device_seq: int, component: str) -> Row[Any] | None:
    """The target of the component that the device completed last."""
    of = {"of_device": device_seq, "of_component": component}
    return connection.execute(_COMPLETED, of).first()


_COMPLETED = (
    select(
        t.targets,
        t.runs.c.deployment,
        t.runs.c.id.label("run_id"),
        t.runs.c.target_version,
        t.runs.c.offer,
        t.runs.c.status.label("run_status"),
    )
    .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
    .where(
        t.targets.c.device_seq == bindparam("of_device"),
        t.targets.c.component == bindparam("of_component"),
        t.targets.c.status == TargetState.COMPLETED.value,
    )
    .order_by(t.targets.c.completed_at.desc(), t.targets.c.run_seq.desc())
    .limit(1)
)


def _release(target: Row[Any]) -> OfferedRelease:
    """What the target was for: its own release of the run's."""
    offer = Offer.parse(target.offer, target.target_version)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return release


def _is_wanted(target: Row[Any], installed: Installed) -> bool:
    release = _release(target)
    return (release.version, release.sha256) == (installed.version, installed.sha256)


def _verify(connection: Connection, now: int, reporter: Reporter, target: Row[Any]) -> None:
    change_one(connection, target, verified_at=now, deadline=None)
    inventory.raise_rollback_index(
        connection, reporter.seq, target.component, _release(target).rollback_index
    )
    grants.note_verdict(connection, target.run_seq, [reporter.seq], now)
    dirt.mark(connection, reporter.organization, target.deployment)


def _regress(
    connection: Connection,
    now: int,
    reporter: Reporter,
    target: Row[Any],
    installed: Installed,
) -> None:
    """While the run lives, a verified device that shows another version counts as failed."""
    if target.run_status not in ("in_progress", "paused"):
        return
    message = f"reports {installed.version} after {_release(target).version} was verified"
    move_one(connection, target, TargetState.FAILED, reason="Regressed", error_message=message)
    grants.note_verdict(connection, target.run_seq, [reporter.seq], now)
    dirt.mark(connection, reporter.organization, target.deployment)
    event = Event(
        "device.failed",
        deployment=target.deployment,
        run=target.run_id,
        device=reporter.slug,
        reason="Regressed",
        message=message,
    )
    record(connection, reporter.organization, now, event)
