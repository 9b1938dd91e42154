"""The desk where people are received: what they may act on, what is told of it, how it is refused.

Each organization has a desk of its own, and whoever asks is served at the desk of theirs.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from towline.manifests.repository import Repository
from towline.reconciler.head import Head
from towline.reconciler.observe import SEEN_POLLS
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.manifest_texts import ManifestTexts
from towline.reconciler.store import join_tokens, people, reading_devices
from towline.reconciler.store.audit import Deed, DeedStore
from towline.reconciler.store.engine import Store
from towline.reconciler.store.join_tokens import JoinTerms
from towline.reconciler.store.people import Person
from towline.schemas.enrolment import JoinString
from towline.schemas.verifier import root_fingerprint


def wall_clock() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def seen_after(poll_interval_s: int) -> int:
    """Devices that were not seen after this time are offline."""
    return wall_clock() - SEEN_POLLS * poll_interval_s


class Declined(Exception):
    """A request that is answered with a problem."""

    def __init__(self, status: int, code: str, detail: str, **more: object) -> None:
        """`more` are further members of the problem."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.more = more


@dataclass(frozen=True, slots=True)
class Desk:
    """What the calls of an organization's people need."""

    organization: str
    store: Store
    """Bound to the organization: it carries out nothing that reaches beyond it."""
    poll_interval_s: int
    wake: Callable[[], None]
    roots: Callable[[], Sequence[bytes]]
    address: str | None
    """`https://host:port` for devices; None: as the caller reached the server."""
    certificate: str | None
    """The certificate's fingerprint for join strings; None when a public CA vouches for it."""
    head: Callable[[], Head | None] = lambda: None
    """What is in force; None until the first commit was applied."""
    is_stopping: Callable[[], bool] = lambda: False
    """The server ends: whoever works for long gives it up."""
    repository: Repository | None = None
    """The fleet repository, to read its newest commit and to write one."""
    manifest_texts: ManifestTexts | None = None
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever makes a commit."""
    fleet: FleetView | None = None
    """What the server needs of the organization's reconciler, where it has one."""

    def seen_after(self) -> int:
        """Devices that were not seen after this time are offline."""
        return seen_after(self.poll_interval_s)

    def warnings(self) -> list[str]:
        """What must be said of roots and keys wherever people look, as long as it stands."""
        return self.fleet.warnings(wall_clock()) if self.fleet else []

    def slug_of(self, device: str, person: Person) -> str:
        """The id of the device of that id or UUID; raises Declined where the person has none."""
        with self.store.read() as connection:
            slug = reading_devices.find_slug(connection, self.organization, device, person.labels)
        if slug is None:
            raise Declined(404, "not-found", f"there is no device {device[:80]}")
        return slug

    @contextmanager
    def doing(
        self,
        person: Person,
        action: str,
        *,
        deployment: str | None = None,
        device: str | None = None,
        on: str = "",
        **detail: object,
    ) -> Iterator[DeedStore]:
        """Let a person act: gives the store to do it in, whose audit tells of it.

        `on` is what else it is done to. What the state refuses (Declined with 409) is told, too.
        """
        deed = Deed(person, action, wall_clock(), deployment, device, on, detail)
        store = DeedStore(self.store, deed)
        try:
            yield store
        except Declined as declined:
            if declined.status == 409:
                deed.refuse(declined.detail)
                store.keep()
            raise
        store.keep()

    def new_join_string(self, person: Person, host: str, terms: JoinTerms | None = None) -> str:
        """A line that brings devices here.

        `host` is how the caller reached the server. Raises Declined before a root is in force.
        """
        roots = self.roots()
        if not roots:
            raise Declined(503, "not-ready", "no commit of the fleet repository is in force yet")
        terms = terms or JoinTerms()
        told: dict[str, Any] = {"labels": dict(terms.labels), "max_uses": terms.max_uses}
        told |= {"to_pending": terms.to_pending, "life_s": terms.life_s}
        with (
            self.doing(person, "join-token.create", **told) as store,
            store.write() as connection,
        ):
            token = join_tokens.create(
                connection, person.organization, terms, author=person.name, now=wall_clock()
            )
        line = JoinString(
            server=self.address or f"https://{host}",
            organization=person.organization,
            token=token,
            root=root_fingerprint(roots[0]),
            certificate=self.certificate,
        )
        return str(line)


class Desks:
    """The desks of a server, one for each organization; those of people it does not serve, too."""

    def __init__(self, store: Store, make: Callable[[str], Desk]) -> None:
        """`make` makes an organization's desk."""
        self.store = store
        """Of every organization, for what asks by itself whose it looks at."""
        self._make = lru_cache(maxsize=None)(make)

    def of(self, organization: str) -> Desk:
        """The organization's desk."""
        return self._make(organization)

    def recognise(self, token: str) -> Person | None:
        """Whom a token speaks for; its use is noted, which may wait for the store's writer."""
        now = wall_clock()
        with self.store.read() as connection:
            person = people.find_person(connection, token, now)
        if person is not None and person.is_use_due(now):
            with self.store.write() as connection:
                people.note_use(connection, person.token_id, now)
        return person

    def recognise_again(self, token_id: str) -> Person | None:
        """Whom the token of that id speaks for, who has shown it before."""
        with self.store.read() as connection:
            return people.find_person_by_id(connection, token_id, wall_clock())
