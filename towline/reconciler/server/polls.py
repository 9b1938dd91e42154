"""A device's poll: its rules, the same for whichever way it comes in.

`judge` answers at once where it can, from memory: refusals, 304 to who need not wait, and a
document that is known already. Else the poll waits (`Waiting`), and ends with one answer.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

import structlog

from towline.reconciler.server import wire
from towline.reconciler.server.clock_guard import ClockGuard
from towline.reconciler.server.content import Content
from towline.reconciler.server.device_rates import DeviceRates, too_many_calls
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.served_documents import Poll, ServedDocuments
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.wire import STORE_AWAY, Answer, problem
from towline.reconciler.store.engine import AWAY
from towline.reconciler.tallies import DeviceTally

WAIT_LIMIT_S = 60
NO_SESSION = problem(401, "session", "open a new session")
_NONCE = re.compile(rb"[A-Za-z0-9_-]{22}")
_ONLY_WAIT = re.compile(rb"wait=([0-9]{1,6})")
"""What agents ask; anything else is read as any query is."""
_SEQUENCE = re.compile(rb"[0-9]{1,16}")
_BAD_NONCE = problem(400, "bad-field", "Towline-Nonce: 22 characters of base64url")
_BAD_SEQUENCE = problem(400, "bad-field", "Towline-Sequence: a whole number")
_BAD_HOST = problem(400, "bad-field", "Host")
_NOT_READY = problem(
    503, "not-ready", "no commit is in force yet, or its root names another online key"
)
FAILED = problem(500, "internal", "the document could not be made; the server's log says why")

log = structlog.get_logger()


@dataclass(slots=True)
class Asked:
    """A poll as its device sent it, in a session that lives.

    Not frozen: each poll makes one, and that would cost it twice as much.
    """

    session: Session
    nonce: str
    sequence: int
    """The highest that the device accepted."""
    packages_url: str
    known: str
    """The ETag of the document that the device has; empty: none."""
    wait_s: int


class Polls:
    """Belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        documents: ServedDocuments,
        doorbell: Doorbell,
        inlet: Inlet,
        fleets: Fleets,
        poll_interval_s: int,
        rates: DeviceRates,
        tally: DeviceTally,
        clock: ClockGuard,
    ) -> None:
        self._clock = clock
        self.sessions = sessions
        self.documents = documents
        self.doorbell = doorbell
        self.poll_interval_s = poll_interval_s
        self._inlet = inlet
        self._fleets = fleets
        self._rates = rates
        self._tally = tally

    def judge(
        self, session: Session, headers: Mapping[bytes, bytes], query: bytes, now: float
    ) -> Answer | Asked:
        """The answer, where it is at hand; else what is asked, which must wait."""
        if (too_soon := self.count(session, now)) is not None:
            return too_soon
        nonce, sequence = headers.get(b"towline-nonce", b""), headers.get(b"towline-sequence", b"")
        if _NONCE.fullmatch(nonce) is None:
            return _BAD_NONCE
        if _SEQUENCE.fullmatch(sequence) is None:
            return _BAD_SEQUENCE
        if (packages_url := wire.packages_url(headers.get(b"host", b""))) is None:
            return _BAD_HOST
        if not self._fleets.roots_to_sign_under(session.organization):
            return _NOT_READY
        self.note_seen(session, int(now))
        known, wait_s = headers.get(b"if-none-match", b"").decode("latin-1"), _wait_s(query)
        content = self.documents.known(session.traces, packages_url)
        asked = Asked(session, nonce.decode(), int(sequence), packages_url, known, wait_s)
        found = self.outcome(asked, content, is_over=not wait_s) if content else None
        return asked if found is None else found

    def count(self, session: Session, now: float) -> Answer | None:
        """A device calls: what it is told where it does so too often."""
        if not (wait_s := self._rates.take(session.traces, now)):
            return None
        self._tally.turned_away["rate"] += 1
        return too_many_calls(wait_s)

    def note_seen(self, session: Session, now: int) -> None:
        """The device is there."""
        self._inlet.seen(session.traces, now)

    def outcome(self, asked: Asked, content: Content, *, is_over: bool) -> Answer | None:
        """What is said to who asked, given what the device should run; None: nothing yet."""
        if content.etag != asked.known:
            return self._document(asked, content)
        if not (is_over or self.doorbell.is_closed):
            return None
        self._tally.polls[asked.session.organization, "unchanged"] += 1
        return content.unchanged

    def _document(self, asked: Asked, content: Content) -> Answer:
        session = asked.session
        poll = Poll(session, asked.nonce, asked.sequence, time.time_ns() // 1_000_000)
        try:
            if not (roots := self._fleets.roots_to_sign_under(session.organization)):
                return _NOT_READY  # another root came while the poll waited
            if (refused := self._clock.refusal()) is not None:
                self._tally.turned_away["clock"] += 1
                return refused
            body = self.documents.sign(content, poll, len(roots))
        except Exception as error:  # noqa: BLE001 whatever it was, no poll stays without an answer
            log.error("document.unsigned", device=session.slug, error=repr(error))
            return FAILED
        self._tally.polls[session.organization, "document"] += 1
        if content.work:
            self._inlet.fetched(session.device_seq, content.work)
        return Answer(200, body, (("etag", content.etag), ("cache-control", "no-store")))


def token_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The bearer token that was sent; nobody's is empty."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token if scheme == b"Bearer" else b""


class Waiting:
    """A poll under way: its document is read from the store, or it sleeps at the doorbell.

    It tells its answer once, later and never at once. Thousands sleep, so that it has no task.
    """

    __slots__ = ("_asked", "_polls", "_rings", "_tell", "_timer", "_until")

    def __init__(self, polls: Polls, asked: Asked, tell: Callable[[Answer], None]) -> None:
        self._polls = polls
        self._asked = asked
        self._tell: Callable[[Answer], None] | None = tell
        loop = asyncio.get_running_loop()
        self._until = loop.time() + asked.wait_s
        self._timer: asyncio.TimerHandle | None = None
        # Whoever made this has to know of it before it tells: a session may end just now.
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        if self._tell is not None:
            self._look()

    def give_up(self) -> None:
        """Whoever asked is gone."""
        self._tell = None
        self._rise()

    def wake(self) -> None:
        """The doorbell rang for the device, or closes, or it is time to look."""
        self._rise()
        # Who is parked is there: a wait of many short poll intervals is no silence.
        self._polls.note_seen(self._asked.session, int(time.time()))
        self._look()

    def _look(self) -> None:
        traces, packages_url = self._asked.session.traces, self._asked.packages_url
        self._rings = self._polls.doorbell.count(traces.device_seq)
        content = self._polls.documents.known(traces, packages_url)
        if content is None:
            self._polls.documents.read(traces, packages_url).add_done_callback(self._take)
        else:
            self._weigh(content)

    def _take(self, read: "asyncio.Future[Content]") -> None:
        if self._tell is None:
            read.exception()  # nobody is left to be told
        elif (error := read.exception()) is None:
            self._weigh(read.result())
        else:
            self._end(STORE_AWAY if isinstance(error, AWAY) else FAILED)

    def _weigh(self, content: Content) -> None:
        session, loop = self._asked.session, asyncio.get_running_loop()
        if not session.is_live:
            # Revoked, or replaced by a newer session, while the poll waited.
            self._end(NO_SESSION)
            return
        left = self._until - loop.time()
        answer = self._polls.outcome(self._asked, content, is_over=left <= 0)
        if answer is not None:
            self._end(answer)
        elif self._polls.doorbell.count(session.device_seq) != self._rings:
            self._look()
        else:
            self._polls.doorbell.park(session.device_seq, self)
            self._timer = loop.call_later(min(left, self._polls.poll_interval_s), self.wake)

    def _rise(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._polls.doorbell.leave(self._asked.session.device_seq, self)

    def _end(self, answer: Answer) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(answer)


def _wait_s(query: bytes) -> int:
    """`wait=SECONDS`, at most 60; 0 when absent or no number."""
    if not query:
        return 0
    if found := _ONLY_WAIT.fullmatch(query):
        text = found[1].decode()
    else:
        text = parse_qs(query.decode("latin-1")).get("wait", ["0"])[0]
    is_number = text.isascii() and text.isdecimal() and len(text) < 7
    return min(WAIT_LIMIT_S, int(text)) if is_number else 0
