"""Looking at the devices of some places in a run's order, by their numbers: no others are read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, literal, select

from towline.reconciler.store import hints
from towline.reconciler.store.among import among, listed
from towline.reconciler.store.choice import OWNED_BY_OTHER, Affine, Choice, owned
from towline.reconciler.store.condition_keys import joined, key_of
from towline.reconciler.store.tables import edge_devices, targets


def numbers_at(order: Affine, first: int, size: int) -> list[int]:
    """The numbers at so many places of the order; few stand for no device."""
    step = pow(order.mul, -1, order.p)
    places = range(first, min(first + size, order.p))
    return [(place * step - order.off) % order.p for place in places]


def not_in_run(connection: Connection, choice: Choice, numbers: Sequence[int]) -> list[int]:
    """Of these numbers such as have no target in the run, in the same order."""
    asked = listed(connection, numbers)
    number = asked.c.value
    statement = select(number).where(_entered(choice, number).is_(None))
    found = set(connection.execute(statement).scalars().all())
    return [number for number in numbers if number in found]


def _entered(choice: Choice, number: ColumnElement[int]) -> ScalarSelect[int]:
    """NULL for a device that has no target in the run.

    A scalar, which each is looked up for: of a NOT EXISTS Postgres may read the run's all.
    """
    return (
        select(literal(1))
        .where(
            targets.c.run_seq == choice.run_seq,
            targets.c.device_seq == number,
            targets.c.reason != OWNED_BY_OTHER,
        )
        .limit(1)
        .correlate_except(targets)
        .scalar_subquery()
    )


def keys_of_new(connection: Connection, choice: Choice, numbers: Sequence[int]) -> dict[int, int]:
    """The conditions of those of these devices that the filters own, each as its key.

    Of such as have no target in the run.
    """
    statement: Any = (
        select(edge_devices.c.seq, key_of(connection, choice).label("key"))
        .select_from(joined(choice))
        .where(
            among(connection, edge_devices.c.seq, numbers),
            owned(connection, choice),
            _entered(choice, edge_devices.c.seq).is_(None),
        )
    )
    rows = connection.execute(hints.by_number(statement, edge_devices))
    return dict(rows.all())


def next_owned(connection: Connection, choice: Choice, after: int, limit: int) -> dict[int, int]:
    """The next ones by their numbers that the filters own, each with its condition's key."""
    statement: Any = (
        select(edge_devices.c.seq, key_of(connection, choice).label("key"))
        .select_from(joined(choice))
        .where(edge_devices.c.seq > after, owned(connection, choice))
        .order_by(edge_devices.c.seq)
        .limit(limit)
    )
    rows = connection.execute(hints.by_number(statement, edge_devices))
    return {row.seq: row.key for row in rows}
