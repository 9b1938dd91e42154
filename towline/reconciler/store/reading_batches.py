"""What people read of batches and holds, in the shapes of the API."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from towline.reconciler.store import tables as t
from towline.schemas import times
from towline.schemas.states import LIVE_RUNS, TargetState


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
        select(t.targets.c.run_seq, t.targets.c.batch, t.targets.c.status, func.count())
        .where(t.targets.c.run_seq.in_(run_seqs))
        .group_by(t.targets.c.run_seq, t.targets.c.batch, t.targets.c.status)
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
    found: dict[int | None, list[dict[str, Any]]] = {}
    for by_batch in (True, False):
        keys = [t.targets.c.batch, t.targets.c.arm] if by_batch else [t.targets.c.arm]
        counts: dict[tuple[Any, ...], dict[str, int]] = {}
        for *key, status, n in connection.execute(
            select(*keys, t.targets.c.status, func.count())
            .where(t.targets.c.run_seq == run_seq)
            .group_by(*keys, t.targets.c.status)
        ):
            counts.setdefault(tuple(key), {})[status] = n
        medians = _medians(connection, run_seq, keys)
        for key_of, by_state in sorted(counts.items(), key=lambda item: str(item[0])):
            batch = key_of[0] if by_batch else None
            found.setdefault(batch, []).append(
                {"arm": key_of[-1], "counts": by_state, "medianSeconds": medians.get(key_of)}
            )
    return found


def _medians(
    connection: Connection, run_seq: int, keys: Sequence[ColumnElement[Any]]
) -> dict[tuple[Any, ...], int]:
    """The median time from grant to verification, in whole seconds, by these columns."""
    length = t.targets.c.verified_at - t.targets.c.granted_at
    ranked = (
        select(
            *keys,
            length.label("length"),
            func.row_number().over(partition_by=keys, order_by=length).label("rank"),
            func.count().over(partition_by=keys).label("n"),
        )
        .where(
            t.targets.c.run_seq == run_seq,
            t.targets.c.status == TargetState.COMPLETED.value,
            t.targets.c.verified_at.is_not(None),
            t.targets.c.granted_at.is_not(None),
        )
        .subquery()
    )
    names = [ranked.c[str(key.key)] for key in keys]
    middle = ranked.c.rank.in_([(ranked.c.n + 1) // 2, (ranked.c.n + 2) // 2])
    rows = connection.execute(
        select(*names, func.avg(ranked.c.length)).where(middle).group_by(*names)
    )
    return {tuple(key): int(median) for *key, median in rows}


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
