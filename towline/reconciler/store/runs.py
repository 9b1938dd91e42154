"""Runs, batches and holds: reading their rows, and writing them with a record of each change."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from towline.reconciler.store import changes
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import (
    batches,
    deployment_counts,
    edge_devices,
    holds,
    runs,
)
from towline.reconciler.store.ties import OF_ALL
from towline.schemas.states import (
    LIVE_RUNS,
    BatchState,
    RunState,
    TargetState,
    move_batch,
    move_run,
)


def newest_run(connection: Connection, organization: str, deployment: str) -> Row[Any] | None:
    """The Deployment's newest run."""
    named = {"of_organization": organization, "of_deployment": deployment}
    return remembered(
        connection, "newest run", named, [runs], lambda: connection.execute(_NEWEST, named).first()
    )


_NEWEST = (
    select(runs)
    .where(
        runs.c.organization == bindparam("of_organization"),
        runs.c.deployment == bindparam("of_deployment"),
    )
    .order_by(runs.c.seq.desc())
    .limit(1)
)


def get_run(connection: Connection, run_seq: int) -> Row[Any]:
    """A run by its number."""
    return connection.execute(select(runs).where(runs.c.seq == run_seq)).one()


def live_of(connection: Connection, organization: str) -> Sequence[Row[Any]]:
    """Every run of the organization that is not over."""
    live = sorted(state.value for state in LIVE_RUNS)
    return connection.execute(
        select(runs)
        .where(runs.c.organization == organization, runs.c.status.in_(live))
        .order_by(runs.c.seq)
    ).all()


def with_offers(connection: Connection, organization: str) -> Sequence[Row[Any]]:
    """Every run whose packages devices may be told to run, the final ones, too."""
    return connection.execute(
        select(runs).where(runs.c.organization == organization, runs.c.offer.is_not(None))
    ).all()


def count_turns(connection: Connection, organization: str, deployment: str, revision: str) -> int:
    """How many runs the revision had in this Deployment."""
    return connection.execute(
        select(func.count())
        .select_from(runs)
        .where(
            runs.c.organization == organization,
            runs.c.deployment == deployment,
            runs.c.revision == revision,
        )
    ).scalar_one()


def history(
    connection: Connection, organization: str, deployment: str, revision: str
) -> tuple[int, bool]:
    """How many runs the revision had in this Deployment; whether a device ever completed it."""
    named = {"of_organization": organization, "of_deployment": deployment, "revision": revision}

    def ask() -> tuple[int, bool]:
        turns, was_completed = connection.execute(_HISTORY, named).one()
        return turns, bool(was_completed)

    return remembered(connection, "history", named, [runs, deployment_counts], ask)


_OF_REVISION = and_(
    runs.c.organization == bindparam("of_organization"),
    runs.c.deployment == bindparam("of_deployment"),
    runs.c.revision == bindparam("revision"),
)
_HISTORY = select(
    select(func.count()).select_from(runs).where(_OF_REVISION).scalar_subquery(),
    exists(
        select(deployment_counts.c.n)
        .join(runs, runs.c.seq == deployment_counts.c.run_seq)
        .where(_OF_REVISION, deployment_counts.c.status == TargetState.COMPLETED.value)
    ),
)


def insert_run(connection: Connection, values: dict[str, Any]) -> int:
    """Insert a run; returns its seq."""
    row = connection.execute(insert(runs).returning(runs), values).one()
    changes.run_changed(connection, row.seq, changes.row_values("runs", row), is_new=True)
    return int(row.seq)


def change_run(connection: Connection, run: Row[Any], status: RunState, **values: Any) -> None:
    """Move a run through its table of states, together with other columns."""
    move_run(RunState(run.status), status)
    set_on_run(connection, run.seq, status=status.value, **values)


def set_on_run(connection: Connection, run_seq: int, **values: Any) -> None:
    """Set columns of a run that its state does not depend on."""
    changed = _update(connection, runs, (runs.c.seq == run_seq,), values)
    changes.run_changed(connection, run_seq, changed, is_new=False)


def _update(
    connection: Connection,
    table: Table,
    where: tuple[ColumnElement[bool], ...],
    values: dict[str, Any],
) -> dict[str, Any]:
    """Update one row; returns those told columns that have another value now."""
    statement = update(table).where(*where).values(**values)
    told = [table.c[name] for name in values if name in changes.TOLD[table.name]]
    if not told:
        connection.execute(statement)
        return {}
    before = connection.execute(select(*told).where(*where)).one()
    after = connection.execute(statement.returning(*told)).one()
    return {
        column.name: changes.plain(value)
        for column, was, value in zip(told, before, after, strict=True)
        if was != value
    }


def highest_seq(connection: Connection) -> int:
    """The newest device's number, whosesoever it is; 0 without any."""
    statement = select(func.coalesce(func.max(edge_devices.c.seq), 0)).execution_options(**OF_ALL)
    return int(connection.execute(statement).scalar_one())


def batches_of(connection: Connection, run_seq: int) -> list[Row[Any]]:
    """The run's opened batches in order."""

    def ask() -> tuple[Row[Any], ...]:
        return tuple(connection.execute(_BATCHES, {"of_run": run_seq}).all())

    return list(remembered(connection, "batches", run_seq, [batches], ask))


_BATCHES = (
    select(batches).where(batches.c.run_seq == bindparam("of_run")).order_by(batches.c.number)
)


def insert_batch(connection: Connection, run_seq: int, number: int, values: dict[str, Any]) -> None:
    """Insert a batch that opens, still without members."""
    row = connection.execute(
        insert(batches).returning(batches),
        {**values, "run_seq": run_seq, "number": number, "size": 0},
    ).one()
    values = changes.row_values("batches", row)
    changes.batch_changed(connection, run_seq, number, values, is_new=True)


def change_batch(
    connection: Connection, run_seq: int, number: int, state: BatchState, **values: Any
) -> None:
    """Move a batch through its table of states, together with other columns."""
    before = connection.execute(
        select(batches.c.state).where(batches.c.run_seq == run_seq, batches.c.number == number)
    ).scalar_one()
    move_batch(BatchState(before), state)
    _set_on_batch(connection, run_seq, number, state=state.value, **values)


def _set_on_batch(connection: Connection, run_seq: int, number: int, **values: Any) -> None:
    where = (batches.c.run_seq == run_seq, batches.c.number == number)
    changed = _update(connection, batches, where, values)
    changes.batch_changed(connection, run_seq, number, changed, is_new=False)


def grow_batch(connection: Connection, run_seq: int, number: int, members: int) -> None:
    """So many more devices are in the batch."""
    _set_on_batch(connection, run_seq, number, size=batches.c.size + members)


def fill_batch(
    connection: Connection, run_seq: int, number: int, members: int, filled_to: int | None
) -> None:
    """So many more are in the last batch, which is filled up to that device; None: it is full."""
    size = batches.c.size + members
    _set_on_batch(connection, run_seq, number, size=size, filled_to=filled_to)


def begin_analysis(connection: Connection, run_seq: int, number: int, now: int) -> None:
    """The batch's soak is over: its figures are asked from now on."""
    _set_on_batch(connection, run_seq, number, analysis_from=now)


def holds_of(
    connection: Connection, organization: str, deployment: str, run_seq: int | None
) -> list[Row[Any]]:
    """The holds of the run and those that stay with the Deployment."""
    named = {"of_organization": organization, "of_deployment": deployment, "of_run": run_seq}

    def ask() -> tuple[Row[Any], ...]:
        return tuple(connection.execute(_HOLDS, named).all())

    return list(remembered(connection, "holds", named, [holds], ask))


_HOLDS = (
    select(holds)
    .where(
        holds.c.organization == bindparam("of_organization"),
        holds.c.deployment == bindparam("of_deployment"),
        or_(holds.c.run_seq.is_(None), holds.c.run_seq == bindparam("of_run")),
    )
    .order_by(holds.c.id)
)


def remove_holds(
    connection: Connection, organization: str, deployment: str, *reasons: str
) -> list[str]:
    """Delete the Deployment's holds of these reasons; returns those that were there."""
    ended = _end_holds(
        connection,
        holds.c.organization == organization,
        holds.c.deployment == deployment,
        holds.c.reason.in_(reasons),
    )
    return [row.reason for row in ended]


def end_holds(connection: Connection, run_seq: int) -> None:
    """The run is over: its own holds are, too."""
    _end_holds(connection, holds.c.run_seq == run_seq)


def _end_holds(connection: Connection, *where: ColumnElement[bool]) -> list[Row[Any]]:
    ended = list(connection.execute(delete(holds).where(*where).returning(holds)))
    changes.holds_changed(connection, added=[], ended=ended)
    return ended


def add_hold(
    connection: Connection, run: Row[Any], values: dict[str, Any], *, stays: bool = False
) -> None:
    """Insert a hold of the run; with `stays` one of its Deployment, over its runs."""
    where = {
        "organization": run.organization,
        "deployment": run.deployment,
        "run_seq": None if stays else run.seq,
    }
    row = connection.execute(insert(holds).returning(holds), values | where).one()
    changes.holds_changed(connection, added=[row], ended=[])
