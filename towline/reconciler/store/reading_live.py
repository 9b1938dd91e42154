"""What a live view is made of: counts only, from the counters, never a row per device."""

from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from towline.reconciler.store import tables as t
from towline.reconciler.store.columns import sum_of
from towline.reconciler.store.ties import OF_ALL
from towline.schemas.states import LIVE_RUNS

NEWEST_RUNS = 20
SHOWN_RUNS_LIMIT = 100


def newest_event(connection: Connection) -> int:
    """The number of the last event, of whatever organization; 0 when there is none."""
    newest = select(func.max(t.events.c.id)).execution_options(**OF_ALL)
    return connection.execute(newest).scalar_one() or 0


def counts_by_batch(connection: Connection, run_seq: int) -> dict[int, dict[str, int]]:
    """By batch: how many of the run's devices are in which state."""
    counts = t.deployment_counts.c
    rows = connection.execute(
        select(counts.batch, counts.status, sum_of(counts.n))
        .where(counts.run_seq == run_seq, counts.n > 0)
        .group_by(counts.batch, counts.status)
    )
    found: dict[int, dict[str, int]] = {}
    for batch, status, n in rows:
        found.setdefault(batch, {})[status] = n
    return found


def shown_runs(connection: Connection, organization: str) -> list[Row[Any]]:
    """The runs that are not over and the newest ones, newest first."""
    own = t.runs.c.organization == organization
    newest = select(t.runs.c.seq).where(own).order_by(t.runs.c.seq.desc()).limit(NEWEST_RUNS)
    is_live = t.runs.c.status.in_([state.value for state in LIVE_RUNS])
    rows = connection.execute(
        select(t.runs)
        .where(own, or_(is_live, t.runs.c.seq.in_(newest)))
        .order_by(t.runs.c.seq.desc())
        .limit(SHOWN_RUNS_LIMIT)
    )
    return list(rows.all())
