"""Runs, batches and holds: reading and writing their rows."""

from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from towline.reconciler.store.tables import batches, edge_devices, holds, runs, targets
from towline.schemas.states import BatchState, RunState, TargetState, move_batch, move_run


def newest_run(connection: Connection, organization: str, deployment: str) -> Row[Any] | None:
    """The Deployment's newest run."""
    return connection.execute(
        select(runs)
        .where(runs.c.organization == organization, runs.c.deployment == deployment)
        .order_by(runs.c.seq.desc())
        .limit(1)
    ).first()


def get_run(connection: Connection, run_seq: int) -> Row[Any]:
    """A run by its number."""
    return connection.execute(select(runs).where(runs.c.seq == run_seq)).one()


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


def was_completed(
    connection: Connection, organization: str, deployment: str, revision: str
) -> bool:
    """True when at least one device completed the revision in this Deployment."""
    found = exists(
        select(targets.c.run_seq)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .where(
            runs.c.organization == organization,
            runs.c.deployment == deployment,
            runs.c.revision == revision,
            targets.c.status == TargetState.COMPLETED.value,
        )
    )
    return bool(connection.execute(select(found)).scalar_one())


def insert_run(connection: Connection, values: dict[str, Any]) -> int:
    """Insert a run; returns its seq."""
    return int(connection.execute(insert(runs).returning(runs.c.seq), values).scalar_one())


def change_run(connection: Connection, run: Row[Any], status: RunState, **values: Any) -> None:
    """Move a run through its table of states, together with other columns."""
    move_run(RunState(run.status), status)
    connection.execute(
        update(runs).where(runs.c.seq == run.seq).values(status=status.value, **values)
    )


def highest_seq(connection: Connection) -> int:
    """The newest device's number; 0 without any."""
    statement = select(func.coalesce(func.max(edge_devices.c.seq), 0))
    return int(connection.execute(statement).scalar_one())


def batches_of(connection: Connection, run_seq: int) -> list[Row[Any]]:
    """The run's opened batches in order."""
    return list(
        connection.execute(
            select(batches).where(batches.c.run_seq == run_seq).order_by(batches.c.number)
        )
    )


def change_batch(
    connection: Connection, run_seq: int, number: int, state: BatchState, **values: Any
) -> None:
    """Move a batch through its table of states, together with other columns."""
    where = (batches.c.run_seq == run_seq, batches.c.number == number)
    before = connection.execute(select(batches.c.state).where(*where)).scalar_one()
    move_batch(BatchState(before), state)
    connection.execute(update(batches).where(*where).values(state=state.value, **values))


def begin_analysis(connection: Connection, run_seq: int, number: int, now: int) -> None:
    """The batch's soak is over: its figures are asked from now on."""
    connection.execute(
        update(batches)
        .where(batches.c.run_seq == run_seq, batches.c.number == number)
        .values(analysis_from=now)
    )


def holds_of(
    connection: Connection, organization: str, deployment: str, run_seq: int | None
) -> list[Row[Any]]:
    """The holds of the run and those that stay with the Deployment."""
    return list(
        connection.execute(
            select(holds)
            .where(
                holds.c.organization == organization,
                holds.c.deployment == deployment,
                holds.c.run_seq.is_(None) | (holds.c.run_seq == run_seq),
            )
            .order_by(holds.c.id)
        )
    )


def remove_holds(
    connection: Connection, organization: str, deployment: str, *reasons: str
) -> list[str]:
    """Delete the Deployment's holds of these reasons; returns those that were there."""
    return list(
        connection.execute(
            delete(holds)
            .where(
                holds.c.organization == organization,
                holds.c.deployment == deployment,
                holds.c.reason.in_(reasons),
            )
            .returning(holds.c.reason)
        ).scalars()
    )
