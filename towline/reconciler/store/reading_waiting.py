"""The runs that wait for a person."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from towline.reconciler.store import tables as t
from towline.schemas.states import LIVE_RUNS

LIMIT = 200


def runs(connection: Connection, organization: str, reasons: Collection[str]) -> Sequence[Row[Any]]:
    """The live ones under a hold of these reasons, and those that wait for their start."""
    held = (
        select(t.holds.c.run_seq)
        .where(t.holds.c.organization == organization, t.holds.c.reason.in_(sorted(reasons)))
        .where(t.holds.c.run_seq.is_not(None))
    )
    return connection.execute(
        select(t.runs)
        .where(
            t.runs.c.organization == organization,
            t.runs.c.status.in_([state.value for state in LIVE_RUNS]),
            or_(t.runs.c.seq.in_(held), t.runs.c.reason == "WaitingForStart"),
        )
        .order_by(t.runs.c.seq)
        .limit(LIMIT)
    ).all()
