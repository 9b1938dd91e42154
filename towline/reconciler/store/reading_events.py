"""What people read of events: those that matter, and equal repeats in a row as one.

The table keeps one row for each; they are folded here, when they are read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, not_, or_, select

from towline.reconciler.store import tables as t
from towline.reconciler.store.reading_batches import when

READ_LIMIT = 20_000
"""So many rows are read at most, however many of them fold into one."""
_CHUNK = 500
_SAME = ("kind", "deployment", "run", "device", "reason", "message", "cause", "commit")
_OF_DEVICES = ("device.", "target.")
_FAILING = ("device.failed", "device.rolled_back", "device.held", "target.failed")
_MACHINE = "changed."
"""Rows for replay: what changed, as data."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted."""

    deployment: str | None = None
    device: str | None = None
    after: int = 0
    """Only with a higher number, oldest first; 0: the newest ones."""
    since: int | None = None
    """Only from this time on."""
    is_important: bool = False
    """Only of Deployments, the repository and failing devices."""
    with_machine: bool = False
    """Those for replay, too."""
    without_devices: bool = False
    """None of a single device, not even of failing ones."""
    before: int | None = None
    """Only with a lower number: how a page goes on to older ones."""


def events(
    connection: Connection, organization: str, wanted: EventFilter, limit: int
) -> list[dict[str, Any]]:
    """At most `limit` events after folding, oldest first."""
    where = [t.events.c.organization == organization, *_conditions(wanted)]
    order = t.events.c.id.asc() if wanted.after else t.events.c.id.desc()
    rows = connection.execute(select(t.events).where(*where).order_by(order).limit(READ_LIMIT))
    groups = _folded(row for part in rows.partitions(_CHUNK) for row in part)
    found = [_document(group) for group in islice(groups, limit)]
    return found if wanted.after else found[::-1]


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    kind = t.events.c.kind
    where: list[ColumnElement[bool]] = []
    if wanted.deployment is not None:
        where.append(t.events.c.deployment == wanted.deployment)
    if wanted.device is not None:
        where.append(t.events.c.device == wanted.device)
    if wanted.after:
        where.append(t.events.c.id > wanted.after)
    if wanted.before is not None:
        where.append(t.events.c.id < wanted.before)
    if wanted.since is not None:
        where.append(t.events.c.at >= wanted.since)
    if wanted.is_important:
        of_devices = or_(*(kind.startswith(word) for word in _OF_DEVICES))
        where.append(or_(not_(of_devices), kind.in_(_FAILING)))
    if wanted.without_devices:
        where += [not_(kind.startswith(word)) for word in _OF_DEVICES]
    if not wanted.with_machine:
        where.append(not_(kind.startswith(_MACHINE)))
    return [and_(*where)] if where else []


def _folded(rows: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """Equal neighbours together; each but the first of a group repeats it."""
    group: list[Row[Any]] = []
    for row in rows:
        if group and not _is_same(group[-1], row):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _is_same(one: Row[Any], other: Row[Any]) -> bool:
    return all(getattr(one, key) == getattr(other, key) for key in _SAME) and (
        one.data == other.data
    )


def _document(group: list[Row[Any]]) -> dict[str, Any]:
    """The number is the last one's, so that who reads on from it gets none twice."""
    first, last = sorted((group[0], group[-1]), key=lambda row: int(row.id))
    return {
        "id": last.id,
        "firstId": first.id,
        "at": when(first.at),
        "lastAt": when(last.at),
        "count": len(group),
        "kind": last.kind,
        "deployment": last.deployment,
        "run": str(last.run) if last.run else None,
        "device": last.device,
        "reason": last.reason,
        "message": last.message,
        "cause": last.cause,
        "commit": last.commit,
        "data": last.data,
    }
