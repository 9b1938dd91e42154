"""The audit: what each person did, when and why; one row for each act, kept for good.

Whoever lets a person act opens a `Deed` and gives its store to what carries the act out: the row is
written in the transaction that the act changes something in. A refusal leaves a row, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from towline.reconciler.store import audit_rows
from towline.reconciler.store.engine import Store
from towline.reconciler.store.people import Person
from towline.schemas import strict_json
from towline.schemas.identifiers import device_uuid

DONE, REFUSED = "done", "refused"
_KEY = "towline.deed"


@dataclass(slots=True)
class Deed:
    """One act of one person; what it was about may become known while it is done."""

    person: Person
    action: str
    """A dotted word, such as `deployment.pause`."""
    at: int
    """Seconds since the epoch."""
    deployment: str | None = None
    device: str | None = None
    """Its id or UUID; the UUID is what is kept."""
    object: str = ""
    """What else it was done to: a token's id, a commit."""
    detail: dict[str, Any] = field(default_factory=dict)
    result: str = DONE
    is_kept: bool = False

    def refuse(self, why: str) -> None:
        """It was not done; what it would have been about stays."""
        self.result = REFUSED
        self.detail = {**self.detail, "refusal": why}

    def row(self) -> dict[str, Any]:
        """As the audit keeps it; what was not given is left out of the detail."""
        detail = {key: value for key, value in self.detail.items() if value not in (None, "", {})}
        return {
            "at": self.at,
            "organization": self.person.organization,
            "person": self.person.name,
            "token_id": self.person.token_id,
            "role": self.person.role.value,
            "action": self.action,
            "deployment": self.deployment,
            "device": device_mark(self.person.organization, self.device),
            "object": self.object,
            "detail": strict_json.canonical(detail).decode(),
            "result": self.result,
            "request": self.person.request,
        }


def device_mark(organization: str, device: str | None) -> str | None:
    """What the audit keeps of a device: its UUID, which says nothing once the device is purged."""
    if device is None:
        return None
    try:
        return str(UUID(device))
    except ValueError:
        return str(device_uuid(organization, device))


class DeedStore(Store):
    """The store in which a deed is done: its first write transaction leaves the deed's row."""

    def __init__(self, store: Store, deed: Deed) -> None:
        # Its transactions are those of the store behind it, lock included.
        self.engine = store.engine
        self._store = store
        self._deed = deed

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As the store's, with the row in it when it commits."""
        with self._store.write() as connection:
            connection.info[_KEY] = self._deed
            try:
                yield connection
                is_first = not self._deed.is_kept
                if is_first:
                    audit_rows.append(connection, self._deed.row())
            finally:
                del connection.info[_KEY]
        self._deed.is_kept = self._deed.is_kept or is_first

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As the store's."""
        with self._store.read() as connection:
            yield connection

    def keep(self) -> None:
        """Leave the row if no transaction has left it."""
        if not self._deed.is_kept:
            with self.write():
                pass


def tell(
    connection: Connection,
    *,
    deployment: str | None = None,
    device: str | None = None,
    on: str = "",
    **detail: object,
) -> None:
    """Add to the deed in whose transaction this is; without one nothing is kept."""
    deed: Deed | None = connection.info.get(_KEY)
    if deed is None:
        return
    deed.deployment = deployment or deed.deployment
    deed.device = device or deed.device
    deed.object = on or deed.object
    deed.detail = {**deed.detail, **detail}
