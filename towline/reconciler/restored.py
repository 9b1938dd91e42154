"""A store that was put back to an older copy of itself: what was decided since is lost.

Documents stay acceptable and reports are taken in as ever. But a pause may be among what was lost,
so every run waits until a person approves that it goes on: those that the copy has, and those that
begin anew because git wanted them before.
"""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.head import Head
from towline.reconciler.store import dirt, grants, repositories, runs
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.reporters import Reporter
from towline.schemas import times
from towline.schemas.reports import Report

REASON = "RestoredFromBackup"
SEEN = "store.restored"
"""The event that tells of it."""


def notice(connection: Connection, reporter: Reporter, report: Report, now: int) -> set[int]:
    """A device has proved that the store has forgotten something: hold the runs, once.

    Returns the devices whose documents change. Who comes later tells of the same loss: only what
    was acknowledged after it was seen is another one.
    """
    said = report.acknowledged
    if said is None or said.at <= repositories.restored_at(connection, reporter.organization):
        return set()
    message = f"a device was acknowledged more at {times.to_rfc3339(said.at)} than is known here"
    return hold_runs(connection, reporter.organization, now, message, shown_by=reporter.slug)


def hold_runs(
    connection: Connection, organization: str, now: int, message: str, shown_by: str | None = None
) -> set[int]:
    """Let nothing go on by itself; returns the devices whose documents change."""
    touched: set[int] = set()
    repositories.change(connection, organization, restored_at=now)
    record(connection, organization, now, Event(SEEN, device=shown_by, message=message))
    for run in runs.live_of(connection, organization):
        holds = runs.holds_of(connection, organization, run.deployment, run.seq)
        if REASON not in {each.reason for each in holds}:
            _hold(connection, run, message, now)
            touched |= grants.withdraw_all(connection, run.seq)
    return touched


def hold_begun(connection: Connection, head: Head, deployment: str, now: int) -> None:
    """Hold the Deployment's newest run if the store may have forgotten what was decided about it.

    It may where the commit that wants it is older than the loss.
    """
    since = repositories.restored_at(connection, head.organization)
    if head.commit.time > since or not since:
        return
    run = runs.newest_run(connection, head.organization, deployment)
    assert run is not None
    message = f"git wanted it before {times.to_rfc3339(since)}, when the store was put back"
    _hold(connection, run, message, now)


def _hold(connection: Connection, run: Row[Any], message: str, now: int) -> None:
    values = {"reason": REASON, "message": message, "author": "towline", "since": now}
    runs.add_hold(connection, run, values)
    event = Event("run.held", deployment=run.deployment, run=run.id, reason=REASON, message=message)
    record(connection, run.organization, now, event)
    dirt.mark(connection, run.organization, run.deployment)
