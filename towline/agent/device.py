"""The agent's parts, wired in one place, and the few acts that several of them share."""

import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from towline.agent import durable, trust_store
from towline.agent.attempt import KnownBad, known_fields
from towline.agent.clock import Timekeeper
from towline.agent.facts import facts
from towline.agent.fetch import Fetcher, FetchLimits
from towline.agent.identity import Identity
from towline.agent.journal import Journal, report
from towline.agent.layout import Layout
from towline.agent.observe import Snapshot, observe
from towline.agent.report_batch import batch
from towline.agent.server import Denied, Server, SessionClaims
from towline.agent.stop import Stop
from towline.agent.trust_store import TrustStore
from towline.agent.wire import Unreachable, authority, split_https
from towline.schemas import reports
from towline.schemas.hosts import Hosts
from towline.schemas.problems import Problem, Refused
from towline.schemas.verifier import Accepted, Clock

ROOT_LOOK_S = 86400
"""How long the device goes without a look for a newer root."""
SILENCE_S = 30.0
"""How long reports only wait after the server could not be reached."""
_UNREADABLE = frozenset({400, 413})
LOG = logging.getLogger("towline.agent")


@contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """Be the only agent of this root; raises Problem when there is one already."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Problem(f"another agent is running in {layout.root}") from None
    try:
        yield
    finally:
        os.close(descriptor)


class Device:
    """Everything that the loop works with."""

    def __init__(
        self,
        layout: Layout,
        identity: Identity,
        stop: Stop,
        limits: FetchLimits | None = None,
        boot_id: str = "",
    ) -> None:
        """`boot_id` tells two machines with one key apart; by default each start has its own."""
        self.layout = layout
        self._boot_id = boot_id or secrets.token_hex(16)
        self.identity = identity
        self.stop = stop
        self.journal = Journal(layout.journal)
        self.trust = TrustStore(layout, identity.organization)
        self.timekeeper = Timekeeper(self.trust.state.time_floor)
        pin = trust_store.pin(layout)
        least_time = self.timekeeper.now
        self.server = Server(identity.server, identity.organization, pin, least_time=least_time)
        own = authority(split_https(identity.server))
        self.fetcher = Fetcher(
            layout.downloads,
            {own: pin} if pin else {},
            limits,
            hosts=Hosts(own, trust_store.hosts(layout)),
            least_time=least_time,
            pause=stop.wait,
        )
        self.accepted: Accepted | None = None
        self._answered: float | None = None
        self.asks_again_at = 0.0
        """By the monotonic clock: until then a request for enrolment is known to wait."""
        self.next_renewal = 0.0
        """By the monotonic clock: the key is not renewed before, unless a person asks for it."""
        self._silent_until = 0.0
        self._looked_for_roots: float | None = None
        stop.on_stop(self.server.abort)
        stop.on_stop(self.fetcher.abort)

    def claims(self) -> SessionClaims:
        """Who opens a session."""
        identity = self.identity
        return SessionClaims(identity.organization, identity.device, identity.key, self._boot_id)

    def note_contact(self) -> None:
        """The server is there: reports may be sent."""
        self._silent_until = 0.0

    def look_for_roots(self) -> None:
        """Follow newer roots after a start and once a day; raises Refused for a false one."""
        now, last = time.monotonic(), self._looked_for_roots
        if last is None or now >= last + ROOT_LOOK_S:
            self.trust.follow(self.server.root)
            self._looked_for_roots = now

    @property
    def has_answer(self) -> bool:
        """Whether the server answered a poll, with what is believed, since the start."""
        return self._answered is not None

    def note_answer(self) -> None:
        """The server answered a poll just now: with a document that is believed, or with none.

        One that is refused may be the one that withdraws a grant.
        """
        self._answered = time.monotonic()
        durable.write_file(self.layout.contact, json.dumps({"at": int(time.time())}).encode())

    def recall(self) -> None:
        """Verify the stored document again for this moment: it may have expired."""
        clock = Clock(self.timekeeper.now(), is_synchronised=True)
        self.accepted = self.trust.recall(self.identity.claims(), clock)

    def snapshot(self) -> Snapshot:
        """The device as it is now."""
        return observe(
            self.layout,
            self.journal.state,
            self.accepted.document if self.accepted else None,
            read_known_bad(self.layout),
            None if self._answered is None else time.monotonic() - self._answered,
            self.timekeeper.now(),
        )

    def report_for(
        self, attempt: reports.Attempt | None = None, *, rejected: str = ""
    ) -> reports.Report:
        """A report of this moment, with what runs now."""
        return report(
            self.trust.state.sequence,
            self.layout.versions(),
            facts=facts(self.layout.root, self.journal.state.facts),
            attempt=attempt,
            rejected=rejected,
        )

    def send_reports(self) -> None:
        """Send what waits, in order; what is not acknowledged stays and is sent again.

        A report that the server cannot read would block all later ones for ever: it is found by
        sending one at a time, and dropped. A server that is away is left alone for a while, so
        that it does not slow an install.
        """
        if time.monotonic() < self._silent_until:
            return
        count_limit = reports.REPORTS_LIMIT
        while waiting := batch(self.journal.state.outbox, count_limit):
            try:
                self.server.open_session(self.claims(), self.trust.state.sequence)
                receipt = self._deliver(waiting)
            except (Unreachable, Refused) as error:
                self._silent_until = time.monotonic() + SILENCE_S
                LOG.warning("reports wait: %s", error)
                return
            except Denied as denied:
                LOG.warning("reports wait: %s", denied)
                return
            if receipt is None and len(waiting) > 1:
                count_limit = 1
                continue
            state = self.journal.state.acknowledged(waiting[-1]["reportSeq"])
            self.journal.write(replace(state, receipt=receipt or state.receipt))

    def _deliver(self, waiting: Sequence[Mapping[str, Any]]) -> str | None:
        """Send these for a receipt; None: the server has no use for such a body, now or later."""
        try:
            return self.server.report(waiting, self.journal.state.receipt)
        except Denied as denied:
            if denied.status not in _UNREADABLE:
                raise
            LOG.error("the server does not take %d reports: %s", len(waiting), denied)
            return None

    def report_facts(self) -> None:
        """Tell the server what the device is, when that has changed."""
        state = self.journal.state
        seen = facts(self.layout.root, state.facts)
        if state.facts != seen:
            self.journal.write(replace(state.with_report(self.report_for()), facts=seen))


def read_known_bad(layout: Layout) -> frozenset[KnownBad]:
    """Packages that failed here; a broken file is as none, a package just gets one more try."""
    try:
        entries: list[Mapping[str, Any]] = json.loads(layout.known_bad.read_bytes())
        return frozenset(KnownBad(**known_fields(KnownBad, entry)) for entry in entries)
    except (OSError, ValueError, TypeError, AttributeError):
        return frozenset()


def remember_bad(layout: Layout, bad: KnownBad) -> None:
    """Add a package to the known-bad ones; the newest entry of a checksum counts."""
    others = [known for known in read_known_bad(layout) if known.sha256 != bad.sha256]
    data = json.dumps([asdict(known) for known in (*others, bad)], indent=1).encode()
    durable.write_file(layout.known_bad, data, 0o644)
