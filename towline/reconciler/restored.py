"""A store that was put back to an older copy of itself: what was decided since is lost.

Documents stay acceptable and reports are taken in as ever. But a pause may be among what was lost,
so every run waits until a person approves that it goes on.
"""

from sqlalchemy import Connection

from towline.reconciler.store import dirt, grants, runs
from towline.reconciler.store.events import Event, newest_of, record
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
    if said is None or said.at <= newest_of(connection, reporter.organization, SEEN):
        return set()
    message = (
        f"{reporter.slug} was acknowledged more at {times.to_rfc3339(said.at)} than is known here"
    )
    return hold_runs(connection, reporter.organization, now, message)


def hold_runs(connection: Connection, organization: str, now: int, message: str) -> set[int]:
    """Let nothing go on by itself; returns the devices whose documents change."""
    touched: set[int] = set()
    record(connection, organization, now, Event(SEEN, message=message))
    for run in runs.live_of(connection, organization):
        holds = runs.holds_of(connection, organization, run.deployment, run.seq)
        if REASON in {each.reason for each in holds}:
            continue
        values = {"reason": REASON, "message": message, "author": "towline", "since": now}
        runs.add_hold(connection, run, values)
        touched |= grants.withdraw_all(connection, run.seq)
        event = Event(
            "run.held", deployment=run.deployment, run=run.id, reason=REASON, message=message
        )
        record(connection, organization, now, event)
        dirt.mark(connection, organization, run.deployment)
    return touched
