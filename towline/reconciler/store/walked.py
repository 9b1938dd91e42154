"""How far a run's order was walked, and who of those passed by may fit when time has gone on."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, literal, select, true, update

from towline.reconciler.store.among import among, listed
from towline.reconciler.store.choice import Choice
from towline.reconciler.store.tables import device_state, passed_over, runs
from towline.reconciler.store.upserts import insert_ignoring


@dataclass(frozen=True, slots=True)
class Cursor:
    """All places before `place` were looked at, and all changes up to `change`."""

    place: int
    change: int


BEGINNING = Cursor(0, 0)


def heard_again(connection: Connection, choice: Choice) -> list[int]:
    """Those of the passed by that were seen lately."""
    named = {"of_run": choice.run_seq, "seen_after": choice.seen_after}
    return list(connection.execute(_HEARD_AGAIN, named).scalars())


_HEARD_AGAIN = (
    select(passed_over.c.device_seq)
    .join(device_state, device_state.c.device_seq == passed_over.c.device_seq)
    .where(
        passed_over.c.run_seq == bindparam("of_run"),
        device_state.c.last_seen >= bindparam("seen_after"),
    )
)


def keep(
    connection: Connection,
    run_seq: int,
    commit: str,
    cursor: Cursor,
    passed: Sequence[int],
    heard: Sequence[int],
) -> None:
    """The run was walked so far at that commit; `passed` may fit later, of `heard` none else do."""
    values = {"place": cursor.place, "change": cursor.change, "commit": commit}
    connection.execute(_MOVING, {"of_run": run_seq} | values)
    if heard:
        of_run = passed_over.c.run_seq == run_seq
        gone = among(connection, passed_over.c.device_seq, heard)
        connection.execute(delete(passed_over).where(of_run, gone))
    if passed:
        # SQLite reads `ON CONFLICT` after a bare FROM as part of a join: a condition stands there.
        each = listed(connection, passed)
        rows = select(literal(run_seq), each.c.value).where(true())
        adding = insert_ignoring(connection, passed_over)
        connection.execute(adding.from_select(["run_seq", "device_seq"], rows))


_MOVING = (
    update(runs)
    .where(runs.c.seq == bindparam("of_run"))
    .values(
        cursor_pos=bindparam("place"),
        walked_change=bindparam("change"),
        walked_for=bindparam("commit"),
    )
)


def forget(connection: Connection, run_seq: int) -> None:
    """The run is walked from the beginning, or no more."""
    connection.execute(_FORGETTING, {"of_run": run_seq})


_FORGETTING = delete(passed_over).where(passed_over.c.run_seq == bindparam("of_run"))
