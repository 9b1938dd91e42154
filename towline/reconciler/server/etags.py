"""ETags of single resources, and acts that are done only while nobody else has changed one.

The ETag of a deployment or a device is of what an act depends on: states, holds, what is wanted.
Progress and presence move all the time and are not in it, so that who read a page a minute ago may
still act on what it said. It is compared in the very transaction that changes something.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Header
from sqlalchemy import Connection

from towline.reconciler.server.desk import Declined
from towline.reconciler.store.engine import Store
from towline.schemas import strict_json

IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=1000)]


def etag_of(value: Any) -> str:
    """The ETag of what a resource says."""
    return f'"{hashlib.sha256(strict_json.canonical(value)).hexdigest()[:32]}"'


def demand(if_match: str | None, etag: str) -> None:
    """Raises Declined 412 when the caller knows another state; without a header all is well."""
    if if_match is None or if_match.strip() == "*":
        return
    if etag not in [each.strip() for each in if_match.split(",")]:
        raise Declined(
            412,
            "stale",
            "it was changed since you read it: read it again, and send the ETag of what you read"
            " as If-Match",
            etag=etag,
        )


def demand_given(if_match: str | None, etag: str) -> None:
    """As `demand`; raises Declined 428 without a header, because a whole is replaced."""
    if if_match is None:
        words = "If-Match is needed: the ETag that GET answered with, so that nobody's edit is lost"
        raise Declined(428, "no-if-match", words, etag=etag)
    demand(if_match, etag)


class GuardedStore(Store):
    """A store whose first write transaction begins with a look that may raise Declined."""

    def __init__(self, store: Store, look: Callable[[Connection], None]) -> None:
        # Its transactions are those of the store behind it, lock included.
        self.engine = store.engine
        self._store = store
        self._look = look
        self._has_looked = False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As the store's."""
        with self._store.write() as connection:
            if not self._has_looked:
                self._look(connection)
                self._has_looked = True
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As the store's."""
        with self._store.read() as connection:
            yield connection
