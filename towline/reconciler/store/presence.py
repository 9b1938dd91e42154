"""When devices last polled: written for many at once, in one statement and with one parameter."""

import json
from collections.abc import Mapping

from sqlalchemy import BigInteger, Connection, Text, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.selectable import Subquery

from towline.reconciler.store.tables import device_state, edge_devices


def mark_seen(connection: Connection, seen: Mapping[int, int]) -> None:
    """Each device polled at its time; seconds since the epoch."""
    given = _given(connection, seen)
    connection.execute(
        update(device_state)
        .where(device_state.c.device_seq == given.c.device_seq)
        .values(last_seen=given.c.at, seen_before=device_state.c.last_seen)
    )


def returned(connection: Connection, seen: Mapping[int, int], silent_since: int) -> list[str]:
    """The organizations of those devices that had not polled since `silent_since`."""
    given = _given(connection, seen)
    rows = connection.execute(
        select(edge_devices.c.organization)
        .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .join(given, given.c.device_seq == edge_devices.c.seq)
        .where(func.coalesce(device_state.c.last_seen, 0) < silent_since)
        .distinct()
    )
    return list(rows.scalars())


def _given(connection: Connection, seen: Mapping[int, int]) -> Subquery:
    """The devices and their times as rows."""
    text = literal(json.dumps(seen), Text)
    is_postgres = connection.dialect.name == "postgresql"
    rows = func.json_each_text(cast(text, JSON)) if is_postgres else func.json_each(text)
    given = rows.table_valued("key", "value")
    return select(
        cast(given.c.key, BigInteger).label("device_seq"),
        cast(given.c.value, BigInteger).label("at"),
    ).subquery("given")
