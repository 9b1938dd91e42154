"""Which devices have labels that a filter asks for: each label set is looked at once for a filter.

Sets are only ever added, so that what is known of them holds for as long as an engine is used; a
transaction asks for those that are new.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, select, true

from towline.manifests.filters import owns_labels
from towline.manifests.model import Ownership
from towline.reconciler.store.among import among
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import edge_devices, label_sets

RARE = 10
"""A filter is rare that at most one in so many label sets satisfies."""
_SETS_AT_ONCE = 1000


@dataclass(slots=True)
class _Satisfying:
    """The sets that satisfy one filter, of the first `looked_at` ones."""

    looked_at: int = 0
    ids: list[int] = field(default_factory=list)
    clause: ColumnElement[bool] | None = None


@dataclass(slots=True)
class _Sets:
    """The label sets of one engine, in the order in which they were added."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    ids: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    satisfying: dict[Ownership, _Satisfying] = field(default_factory=dict)


_FILTERS_LIMIT = 5000
_SETS: WeakKeyDictionary[Any, _Sets] = WeakKeyDictionary()
_ADDED = (
    select(label_sets.c.id, label_sets.c.digest)
    .where(label_sets.c.id > bindparam("known"))
    .order_by(label_sets.c.id)
)


def forget(engine: Engine) -> None:
    """A transaction was taken back, or all of the store is another one."""
    _SETS.pop(engine.pool, None)


def has_labels(connection: Connection, owner: Ownership) -> ColumnElement[bool]:
    """The labels and expressions of a filter as a condition over `edge_devices`."""
    about = Ownership(labels=owner.labels, expressions=owner.expressions)
    sets = _SETS.setdefault(connection.engine.pool, _Sets())
    with sets.lock:
        remembered(connection, "label sets", None, [label_sets], lambda: _extend(connection, sets))
        if len(sets.satisfying) > _FILTERS_LIMIT:
            sets.satisfying.clear()
        found = sets.satisfying.setdefault(about, _Satisfying())
        if found.clause is None or found.looked_at < len(sets.ids):
            _look_at_new(connection, about, sets, found)
            found.clause = _clause(connection, found)
        return found.clause


def _extend(connection: Connection, sets: _Sets) -> int:
    for row in connection.execute(_ADDED, {"known": sets.ids[-1] if sets.ids else 0}):
        sets.ids.append(row.id)
        sets.digests.append(row.digest)
    return len(sets.ids)


def _look_at_new(connection: Connection, about: Ownership, sets: _Sets, found: _Satisfying) -> None:
    new = list(zip(sets.ids[found.looked_at :], sets.digests[found.looked_at :], strict=True))
    known = _judged(about)
    _judge(connection, about, known, [number for number, digest in new if digest not in known])
    found.ids += [number for number, digest in new if known[digest]]
    found.looked_at = len(sets.ids)


@lru_cache(maxsize=1000)
def _judged(_about: Ownership) -> dict[str, bool]:
    """By digest, whether a label set satisfies a filter, in whichever store it is."""
    return {}


def _judge(
    connection: Connection, about: Ownership, known: dict[str, bool], new: Sequence[int]
) -> None:
    for at in range(0, len(new), _SETS_AT_ONCE):
        rows = connection.execute(
            select(label_sets.c.digest, label_sets.c.labels).where(
                label_sets.c.id.in_(new[at : at + _SETS_AT_ONCE])
            )
        )
        known.update({row.digest: owns_labels(about, row.labels) for row in rows})


def _clause(connection: Connection, found: _Satisfying) -> ColumnElement[bool]:
    if len(found.ids) == found.looked_at:
        return true()
    column: ColumnElement[int] = edge_devices.c.label_set_id
    if len(found.ids) * RARE > found.looked_at:
        # Not by the index: most of the table in the order of labels is slower than all of it.
        column = unindexed(column)
    return among(connection, column, found.ids)
