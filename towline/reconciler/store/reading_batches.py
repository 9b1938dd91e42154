"""What people read of batches and holds, in the shapes of the API."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from towline.reconciler.store import reading_lengths
from towline.reconciler.store import tables as t
from towline.reconciler.store.columns import sum_of
from towline.schemas import times
from towline.schemas.states import LIVE_RUNS, TargetState

_COUNT = t.deployment_counts.c


def when(seconds: int | None) -> str | None:
    """A time as the API writes it."""
    return None if seconds is None else times.to_rfc3339(seconds)


def batches_by_run(
    connection: Connection, run_seqs: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    """The opened batches of each run, with how many of their targets are in which state."""
    rows = connection.execute(
        select(t.batches)
        .where(t.batches.c.run_seq.in_(run_seqs))
        .order_by(t.batches.c.run_seq, t.batches.c.number)
    ).all()
    counted = connection.execute(
        select(_COUNT.run_seq, _COUNT.batch, _COUNT.status, sum_of(_COUNT.n))
        .where(_COUNT.run_seq.in_(run_seqs), _COUNT.n > 0)
        .group_by(_COUNT.run_seq, _COUNT.batch, _COUNT.status)
    )
    counts: dict[tuple[int, int], dict[str, int]] = {}
    for run_seq, batch, status, n in counted:
        counts.setdefault((run_seq, batch), {})[status] = n
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        document = _batch(row, counts.get((row.run_seq, row.number), {}))
        found.setdefault(row.run_seq, []).append(document)
    return found


def _batch(row: Row[Any], counts: dict[str, int]) -> dict[str, Any]:
    return {
        "number": row.number,
        "name": row.name,
        "state": row.state,
        "size": row.size,
        "isAlone": row.is_alone,
        "isLast": row.is_last,
        "successThreshold": row.success_threshold,
        "soak": row.soak_s,
        "lastVerdictAt": when(row.last_verdict_at),
        "soakedAt": when((row.last_verdict_at or row.opened_at) + row.soak_s)
        if row.soak_s
        else None,
        "openedAt": when(row.opened_at),
        "endedAt": when(row.ended_at),
        "counts": counts,
    }


def arms_by_batch(connection: Connection, run_seq: int) -> dict[int | None, list[dict[str, Any]]]:
    """Counts and the median from grant to verification by arm, of each batch and (None) of all.

    `{"arm", "counts", "medianSeconds"}`; without an experiment there is one arm, which is None.
    """
    counts: dict[tuple[int | None, str], dict[str, int]] = {}
    verified: dict[tuple[int, str], int] = {}
    rows = connection.execute(select(t.deployment_counts).where(_COUNT.run_seq == run_seq))
    for row in rows:
        for batch in (row.batch, None):
            states = counts.setdefault((batch, row.arm), {})
            states[row.status] = states.get(row.status, 0) + row.n
        if row.is_verified and row.status == TargetState.COMPLETED.value:
            key = (row.batch, row.arm)
            verified[key] = verified.get(key, 0) + row.n
    lengths = reading_lengths.medians(connection, run_seq, verified)
    found: dict[int | None, list[dict[str, Any]]] = {}
    for (batch, arm), states in sorted(counts.items(), key=str):
        shown = {state: n for state, n in states.items() if n}
        if shown:
            median = lengths.get((batch, arm))
            found.setdefault(batch, []).append(
                {"arm": arm or None, "counts": shown, "medianSeconds": median}
            )
    return found


def holds_by_run(
    connection: Connection, rows: Sequence[Row[Any]]
) -> dict[int, list[dict[str, Any]]]:
    """What holds each live run; the Deployment's own holds count for its live run only."""
    live = [row for row in rows if row.status in LIVE_RUNS]
    if not live:
        return {}
    names = {row.deployment for row in live}
    held = connection.execute(
        select(t.holds)
        .where(
            t.holds.c.organization == live[0].organization,
            t.holds.c.deployment.in_(names),
            or_(
                t.holds.c.run_seq.is_(None),
                t.holds.c.run_seq.in_([row.seq for row in live]),
            ),
        )
        .order_by(t.holds.c.id)
    ).all()
    return {
        row.seq: [
            hold_document(hold)
            for hold in held
            if hold.deployment == row.deployment and hold.run_seq in (None, row.seq)
        ]
        for row in live
    }


def hold_document(row: Row[Any]) -> dict[str, Any]:
    """One hold as the API shows it."""
    return {
        "reason": row.reason,
        "message": row.message,
        "author": row.author,
        "since": when(row.since),
        "until": when(row.until),
    }
