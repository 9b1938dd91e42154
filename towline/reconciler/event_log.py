"""Events as structured log lines, told after they were committed.

Names are the contract's: deployment.created, deployment.started, device.status, device.rolled_back,
device.failed (a warning); every other event keeps its own name. What is kept for a replay only is
not told.
"""

from typing import Any

import structlog
from sqlalchemy import Row, func, not_, select

from towline.reconciler.store import changes
from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import events

_NAMES = {
    "run.created": "deployment.created",
    "run.started": "deployment.started",
    "device.downloading": "device.status",
    "device.installing": "device.status",
    "device.verifying": "device.status",
    "device.completed": "device.status",
}
_WARNINGS = (
    "device.failed",
    "run.held",
    "repository.held",
    "repository.unreachable",
    "repository.branch-missing",
    "repository.stale",
)
_FIELDS = ("organization", "deployment", "device", "reason", "message", "cause", "commit")
_LIMIT = 1000

log = structlog.get_logger()


class EventLog:
    """Remembers what was told; belongs to the loop's thread."""

    def __init__(self, store: Store, organization: str) -> None:
        self._store = store
        self._organization = organization
        self._last: int | None = None

    def skip(self) -> None:
        """What happened until the next call was another process's to tell."""
        self._last = None

    def tell_new(self) -> None:
        """Log the events since the last call; those from before the first one are history."""
        with self._store.read() as connection:
            if self._last is None:
                newest = connection.execute(select(func.max(events.c.id))).scalar_one()
                self._last = newest or 0
                return
            rows = connection.execute(
                select(events)
                .where(
                    events.c.id > self._last,
                    events.c.organization == self._organization,
                    not_(events.c.kind.startswith(changes.PREFIX)),
                )
                .order_by(events.c.id)
                .limit(_LIMIT)
            ).all()
        for row in rows:
            _tell(row)
            self._last = row.id


def _tell(event: Row[Any]) -> None:
    fields = {name: getattr(event, name) for name in _FIELDS if getattr(event, name)}
    if event.kind.startswith("device."):
        fields["status"] = event.kind.removeprefix("device.")
    write = log.warning if event.kind in _WARNINGS else log.info
    write(_NAMES.get(event.kind, event.kind), **fields)
