"""Lists of devices: one part at a time, however many there are.

A part ends with a cursor, behind which the next one begins: no device is shown twice and none is
left out because others came or went.
"""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, select, tablesample, tuple_

from towline.reconciler.store import device_lists, reading_devices
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_lists import BadCursor, DeviceOrder, FleetFilter
from towline.reconciler.store.engine import is_postgres
from towline.reconciler.store.ties import OF_ALL

LARGE_FLEET = 50_000
COUNTED = 1000
"""Of a fleet that is larger so many of those that fit are counted, of others all."""
WINDOW = 50
"""So many times as many devices as are shown are looked at first, in the list's order."""
PART_FOUND_BY_INDEX = 3
"""So long is the shortest part of an id by which Postgres finds ids; it looks for three letters."""
SAMPLED_PERCENT = 0.2
PLENTY = 3
"""So many times as many rows as are wanted are taken to be near: a sample is not exact."""
_SEEN = func.coalesce(t.device_state.c.last_seen, 0)


class Part(NamedTuple):
    """Some of the devices that fit."""

    devices: list[dict[str, Any]]
    total: int
    """How many fit in all, where all were counted."""
    onward: str | None
    """The cursor of the next part, if any."""
    has_more: bool
    """More than `total` fit: in a large fleet counting ends with COUNTED."""


class _Fits(NamedTuple):
    """A device of a list, by what lists are sorted by; `seen` is 0 where nobody asks for it."""

    seq: int
    slug: str
    seen: int = 0

    def key(self, order: DeviceOrder) -> tuple[Any, ...]:
        return (self.slug,) if order.is_by_id else (self.seen, self.seq)

    def cursor(self, order: DeviceOrder) -> str:
        return self.slug if order.is_by_id else f"{self.seen}.{self.seq}"


def devices_part(
    connection: Connection,
    organization: str,
    wanted: FleetFilter,
    limit: int,
    seen_after: int,
    order: DeviceOrder = DeviceOrder.BY_ID,
) -> Part:
    """At most `limit` devices behind the cursor; raises BadCursor.

    Whether few or many fit is found out first: few are taken as they are found and sorted here,
    of many the next ones stand near by in the list's own order. To leave that to the engine costs
    a look at the whole fleet whenever it guesses wrongly how many fit.
    """
    behind = _cursor(wanted.after, order) if wanted.after else None
    where = device_lists.conditions(connection, organization, wanted)
    presence = device_lists.presence(wanted, seen_after)
    asked = _joined(select(t.edge_devices.c.seq, t.edge_devices.c.slug), presence).where(*where)
    # All at once: to fetch a thousand rows one by one takes longer than to find them.
    found = _fits(connection, asked.limit(COUNTED + 1))
    total, has_more = len(found), False
    if len(found) <= COUNTED:
        rows = _sorted(connection, found, order, behind)[: limit + 1]
    else:
        if is_large(connection):
            total, has_more = COUNTED, True
        else:
            counted = _joined(select(func.count()).select_from(t.edge_devices), presence)
            total = connection.execute(counted.where(*where)).scalar_one()
        if order.is_by_id:
            rows = _by_id(connection, organization, asked, wanted, order, behind, limit + 1)
        else:
            rows = _by_seen(connection, where, presence, order, behind, limit + 1)
    shown = reading_devices.of_numbers(
        connection, [row.seq for row in rows[:limit]], seen_after=seen_after
    )
    onward = rows[limit - 1].cursor(order) if len(rows) > limit else None
    return Part(shown, total, onward, has_more)


def is_large(connection: Connection) -> bool:
    """Whether so many devices are in the store that not all are counted for each look at it."""
    highest = select(func.max(t.edge_devices.c.seq)).execution_options(**OF_ALL)
    return (connection.execute(highest).scalar_one() or 0) > LARGE_FLEET


def _sorted(
    connection: Connection,
    found: Sequence[_Fits],
    order: DeviceOrder,
    behind: tuple[Any, ...] | None,
) -> list[_Fits]:
    """Those behind the cursor in the list's order."""
    if not order.is_by_id:
        state = t.device_state.c
        seqs = [each.seq for each in found]
        times = select(state.device_seq, _SEEN).where(state.device_seq.in_(seqs))
        seen = {seq: at for seq, at in connection.execute(times)}  # noqa: C416 rows are no pairs
        found = [each._replace(seen=seen.get(each.seq, 0)) for each in found]
    rows = sorted(found, key=lambda each: each.key(order), reverse=order.is_backwards)
    if behind is None:
        return rows
    if order.is_backwards:
        return [each for each in rows if each.key(order) < behind]
    return [each for each in rows if each.key(order) > behind]


def _by_id(
    connection: Connection,
    organization: str,
    asked: Select[Any],
    wanted: FleetFilter,
    order: DeviceOrder,
    behind: tuple[Any, ...] | None,
    limit: int,
) -> list[_Fits]:
    """In the order of the list, unless its ids are few among those that come next.

    Ids of the same beginning stand together, maybe at the far end: Postgres, which takes them to be
    everywhere, would walk through all ids before those where their index leads to them at once.
    """
    slug = t.edge_devices.c.slug
    if behind is not None:
        asked = asked.where(_is_behind(slug, order, behind))
    # By a word that no index has, those that fit are found first and sorted then.
    is_rare = len(wanted.contains) >= PART_FOUND_BY_INDEX and _is_rare(
        connection, organization, wanted.contains, order, behind, limit
    )
    word = slug.concat("") if is_rare else slug
    return _fits(connection, asked.order_by(_directed(word, order)).limit(limit))


def _is_rare(
    connection: Connection,
    organization: str,
    part: str,
    order: DeviceOrder,
    behind: tuple[Any, ...] | None,
    limit: int,
) -> bool:
    """Whether fewer than `limit` of the next ids have that part in them; Postgres has to know."""
    if not (is_postgres(connection) and is_large(connection)):
        return False
    slug = t.edge_devices.c.slug
    ids = select(slug).where(t.edge_devices.c.organization == organization)
    if behind is not None:
        ids = ids.where(_is_behind(slug, order, behind))
    near = ids.order_by(_directed(slug, order)).limit(WINDOW * limit).subquery()
    has_part = near.c.slug.contains(part.lower(), autoescape=True)
    found: int = connection.execute(select(func.count()).where(has_part)).scalar_one()
    return found < limit


def _is_behind(
    slug: ColumnElement[str], order: DeviceOrder, behind: tuple[Any, ...]
) -> ColumnElement[bool]:
    is_behind = operator.lt if order.is_backwards else operator.gt
    found: ColumnElement[bool] = is_behind(slug, behind[0])
    return found


def _directed(key: ColumnElement[Any], order: DeviceOrder) -> ColumnElement[Any]:
    return key.desc() if order.is_backwards else key.asc()


def _fits(connection: Connection, asked: Select[Any]) -> list[_Fits]:
    return [_Fits(*row) for row in connection.execute(asked).all()]


def _by_seen(
    connection: Connection,
    where: Sequence[ColumnElement[bool]],
    presence: ColumnElement[bool] | None,
    order: DeviceOrder,
    behind: tuple[Any, ...] | None,
    limit: int,
) -> list[_Fits]:
    """Among those that come next of all devices, whoever they belong to, else among all that fit.

    No index has the time, since it changes all the while: the fewer rows are joined the better.
    """
    state, fleet = t.device_state.c, t.edge_devices.c
    keys = (_SEEN, state.device_seq)
    window = select(state.device_seq, _SEEN.label("seen"))
    if presence is not None:
        window = window.where(presence)
    if behind is not None:
        key = tuple_(*keys)
        window = window.where(key < behind if order.is_backwards else key > behind)
    size = WINDOW * limit
    bound = _bound(connection, window, order, size)
    nearest = window.order_by(*(_directed(key, order) for key in keys))
    tries = [nearest.limit(size), nearest]
    if bound is not None:
        is_near = operator.ge if order.is_backwards else operator.le
        tries.insert(0, nearest.where(is_near(_SEEN, bound)).limit(size))
    for each in tries:
        near = each.subquery()
        directed = (_directed(key, order) for key in (near.c.seen, near.c.device_seq))
        statement = (
            select(fleet.seq, fleet.slug, near.c.seen)
            .join(near, near.c.device_seq == fleet.seq)
            .where(*where)
            .order_by(*directed)
            .limit(limit)
            # The window is of all organizations; whoever is another's falls out by `where`.
            .execution_options(**OF_ALL)
        )
        rows = _fits(connection, statement)
        if len(rows) == limit:
            break
    return rows


def _bound(
    connection: Connection, window: Select[Any], order: DeviceOrder, size: int
) -> int | None:
    """A time on whose side some more than `size` rows of the window are; None: nobody can tell.

    Postgres copies each row that it sorts, also those that it drops at once: of a million rows
    the few that are near are picked before. The time is that of one of a few rows by chance,
    and whatever it is, those on its side come first.
    """
    if not (is_postgres(connection) and is_large(connection)):
        return None
    some = tablesample(t.device_state, func.system(SAMPLED_PERCENT), name="some")
    seen = window.where(t.device_state.c.device_seq.in_(select(some.c.device_seq))).subquery()
    time = _directed(seen.c.seen, order)
    skipped = int(PLENTY * size * SAMPLED_PERCENT / 100)
    asked = select(seen.c.seen).order_by(time).offset(skipped).limit(1)
    bound: int | None = connection.execute(asked.execution_options(**OF_ALL)).scalar_one_or_none()
    return bound


def _joined(statement: Select[Any], presence: ColumnElement[bool] | None) -> Select[Any]:
    if presence is None:
        return statement
    own = t.device_state.c.device_seq == t.edge_devices.c.seq
    return statement.join_from(t.edge_devices, t.device_state, own).where(presence)


def _cursor(text: str, order: DeviceOrder) -> tuple[Any, ...]:
    """The key that a part ended with; raises BadCursor."""
    if order.is_by_id:
        return (text,)
    seen, _, seq = text.partition(".")
    if not (_is_number(seen) and _is_number(seq)):
        raise BadCursor(text)
    return int(seen), int(seq)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 17
