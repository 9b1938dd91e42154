"""Looking at the devices of some places in a run's order, by their numbers: no others are read."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, func, literal, select

from towline.reconciler.store import hints
from towline.reconciler.store.among import among
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
    listed = _listed(connection, numbers)
    number = listed.c.value
    # A scalar, which each is looked up for: of a NOT EXISTS Postgres may read the run's all.
    entered = (
        select(literal(1))
        .where(
            targets.c.run_seq == choice.run_seq,
            targets.c.device_seq == number,
            targets.c.reason != OWNED_BY_OTHER,
        )
        .limit(1)
        .correlate(listed)
        .scalar_subquery()
    )
    found = set(connection.execute(select(number).where(entered.is_(None))).scalars().all())
    return [number for number in numbers if number in found]


def keys_of_owned(connection: Connection, choice: Choice, numbers: Sequence[int]) -> dict[int, int]:
    """The conditions of those of these devices that the filters own, each as its key."""
    statement: Any = (
        select(edge_devices.c.seq, key_of(connection, choice).label("key"))
        .select_from(joined(choice))
        .where(among(connection, edge_devices.c.seq, numbers), owned(connection, choice))
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


def _listed(connection: Connection, numbers: Sequence[int]) -> Any:
    """The numbers as a table of one parameter."""
    if connection.dialect.name == "postgresql":
        array = func.unnest(literal(list(numbers), ARRAY(BigInteger)))
        return array.table_valued("value", name="listed").render_derived()
    return func.json_each(json.dumps(list(numbers))).table_valued("value", name="listed")
