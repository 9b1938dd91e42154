"""Counters of targets by all that a decision asks of them, moved with each change of them.

They equal a GROUP BY over `targets` at any time, so that a pass costs what changed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from towline.reconciler.store.columns import picked
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import deployment_counts, targets
from towline.reconciler.store.upserts import insert_of
from towline.schemas.states import TargetState


class Standing(NamedTuple):
    """What one target counts as."""

    batch: int
    arm: str
    """Empty without an experiment."""
    status: str
    reason: str
    is_granted: bool = False
    is_verified: bool = False
    is_set_aside: bool = False

    @property
    def is_waiting(self) -> bool:
        """For its grant."""
        return self.status == TargetState.PENDING.value and not self.is_granted

    def changed(self, values: Mapping[str, Any]) -> "Standing":
        """What it counts as once columns of the target got these plain values."""
        told = {name: values[name] for name in ("status", "reason") if name in values}
        for name, flag in (("granted_at", "is_granted"), ("verified_at", "is_verified")):
            if name in values:
                told[flag] = values[name] is not None
        return self._replace(**told)


MADE_OF = ("batch", "arm", "status", "reason", "granted_at", "verified_at", "is_set_aside")
"""Columns of `targets` that a standing is made of."""


def standing_of(row: Row[Any]) -> Standing:
    """Of a row that holds the columns of MADE_OF."""
    return _standing(*picked(row, MADE_OF)(row))


def standing_with(values: Mapping[str, Any]) -> Standing:
    """Of a target that has these values in the columns of MADE_OF."""
    return _standing(*(values[name] for name in MADE_OF))


def standings(rows: Sequence[Row[Any]]) -> Counter[Standing]:
    """Rows of one statement counted by their standing."""
    found: Counter[Standing] = Counter()
    if rows:
        # Many that move together are alike in all of it.
        for values, n in Counter(map(picked(rows[0], MADE_OF), rows)).items():
            found[_standing(*values)] += n
    return found


def _standing(
    batch: int,
    arm: str | None,
    status: str,
    reason: str,
    granted_at: int | None,
    verified_at: int | None,
    is_set_aside: bool,
) -> Standing:
    is_granted, is_verified = granted_at is not None, verified_at is not None
    return Standing(batch, arm or "", status, reason, is_granted, is_verified, bool(is_set_aside))


def of_run(connection: Connection, run_seq: int) -> Mapping[Standing, int]:
    """How many of a run's targets stand how: few rows, that answer many of a pass' questions."""

    def ask() -> Mapping[Standing, int]:
        rows = connection.execute(_OF_RUN, {"of_run": run_seq})
        return {Standing(*standing): n for *standing, n in rows}

    return remembered(connection, "counters", run_seq, [deployment_counts], ask)


_OF_RUN = select(
    *(deployment_counts.c[name] for name in Standing._fields), deployment_counts.c.n
).where(deployment_counts.c.run_seq == bindparam("of_run"))


def counted(connection: Connection, *where: ColumnElement[bool]) -> Counter[Standing]:
    """The targets for which all of `where` is true."""
    columns = _standing_columns()
    rows = connection.execute(select(*columns, func.count()).where(*where).group_by(*columns))
    found: Counter[Standing] = Counter()
    for *standing, n in rows:
        found[Standing(*standing)] = n
    return found


def counted_by_run(connection: Connection) -> dict[int, Counter[Standing]]:
    """All targets, by their run."""
    columns = (targets.c.run_seq, *_standing_columns())
    found: dict[int, Counter[Standing]] = {}
    for run_seq, *standing, n in connection.execute(
        select(*columns, func.count()).group_by(*columns)
    ):
        found.setdefault(run_seq, Counter())[Standing(*standing)] = n
    return found


def add(connection: Connection, run_seq: int, changes: Counter[Standing]) -> None:
    """Add `changes`, which may be below zero, to the run's counters."""
    rows = [
        {"run_seq": run_seq, "n": n, **standing._asdict()} for standing, n in changes.items() if n
    ]
    if not rows:
        return
    connection.execute(_adding(connection.dialect.name), rows)
    if any(n < 0 for n in changes.values()):
        # A reason is a device's word: what nobody stands in any more leaves no row.
        connection.execute(_FORGETTING, {"of_run": run_seq})


@lru_cache
def _adding(engine: str) -> Insert:
    statement = insert_of(engine, deployment_counts)
    return statement.on_conflict_do_update(
        index_elements=list(deployment_counts.primary_key.columns),
        set_={"n": deployment_counts.c.n + statement.excluded.n},
    )


_FORGETTING = delete(deployment_counts).where(
    deployment_counts.c.run_seq == bindparam("of_run"), deployment_counts.c.n == 0
)


def recount(connection: Connection, run_seq: int, batch: int | None = None) -> None:
    """Count a run's targets, or a batch's, anew: after a change of many."""
    counted, counters = [targets.c.run_seq == run_seq], [deployment_counts.c.run_seq == run_seq]
    if batch is not None:
        counted.append(targets.c.batch == batch)
        counters.append(deployment_counts.c.batch == batch)
    connection.execute(delete(deployment_counts).where(*counters))
    columns = _standing_columns()
    connection.execute(
        insert(deployment_counts).from_select(
            ["run_seq", *Standing._fields, "n"],
            select(targets.c.run_seq, *columns, func.count())
            .where(*counted)
            .group_by(targets.c.run_seq, *columns),
        )
    )


def _standing_columns() -> tuple[ColumnElement[Any], ...]:
    return (
        targets.c.batch,
        func.coalesce(targets.c.arm, ""),
        targets.c.status,
        targets.c.reason,
        targets.c.granted_at.is_not(None),
        targets.c.verified_at.is_not(None),
        targets.c.is_set_aside,
    )
