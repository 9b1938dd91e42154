"""The record of everything that changed: one row per event, with its cause."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, select

from towline.reconciler.store.causes import cause_of
from towline.reconciler.store.tables import events
from towline.reconciler.store.ties import OF_ALL


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `kind` is a dotted word such as `run.started`."""

    kind: str
    deployment: str | None = None
    run: UUID | None = None
    device: str | None = None
    reason: str = ""
    message: str = ""
    cause: str = ""
    """Who or what made it happen; empty: what the transaction's changes are recorded with."""
    commit: str = ""
    data: dict[str, Any] = field(default_factory=dict)


_APPENDING = insert(events)


def record(connection: Connection, organization: str, now: int, *entries: Event) -> None:
    """Append events in the caller's transaction."""
    if not entries:
        return
    cause = cause_of(connection)
    connection.execute(
        _APPENDING,
        [
            {
                "at": now,
                "organization": organization,
                "kind": entry.kind,
                "deployment": entry.deployment,
                "run": entry.run,
                "device": entry.device,
                "reason": entry.reason,
                "message": entry.message,
                "cause": entry.cause or (cause.words if cause else ""),
                "commit": entry.commit,
                "data": entry.data,
            }
            for entry in entries
        ],
    )


def happened_since(connection: Connection, organization: str, kind: str, since: int) -> bool:
    """True when there is an event of the kind after `since`."""
    found = connection.execute(
        select(events.c.id)
        .where(events.c.organization == organization, events.c.kind == kind, events.c.at > since)
        .limit(1)
    )
    return found.first() is not None


LOOKED_AT = 1000
"""So many of the last events are asked for their time."""

_LAST_TIMES = select(events.c.at).order_by(events.c.id.desc()).limit(LOOKED_AT).subquery()
_NEWEST_TIME = select(func.max(_LAST_TIMES.c.at)).execution_options(**OF_ALL)


def newest_time(connection: Connection) -> int:
    """The newest time that is recorded, of whatever organization; 0: none is.

    The last event need not have it: a clock that went back dates the next ones.
    """
    newest: int | None = connection.execute(_NEWEST_TIME).scalar_one()
    return newest or 0
