"""A device's reports: their rules, the same for whichever way they come in.

`take` answers at once where it can: refusals, and 503 where too much waits already. Else the
reports wait to be written (`Handed`), and are acknowledged after their commit, with one answer.
`take_together` does so for all that a round of the loop brings, at its end.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from towline.reconciler.server import plain_json
from towline.reconciler.server.admission import refusal
from towline.reconciler.server.inlet import Full, Inlet
from towline.reconciler.server.polls import NO_SESSION, Polls
from towline.reconciler.server.receipts import Receipts
from towline.reconciler.server.sessions import Session
from towline.reconciler.server.wire import BUSY, STORE_AWAY, Answer, problem
from towline.reconciler.store.engine import AWAY
from towline.reconciler.tallies import DeviceTally
from towline.schemas import reports
from towline.schemas.problems import Refused
from towline.schemas.reports import Heard, Report

_FAILED = problem(500, "internal", "the reports cannot be acknowledged; the server's log says why")

RECEIPT = b"towline-receipt"
"""The header, both ways."""

log = structlog.get_logger()


class Reporting:
    """Belongs to the event loop's thread."""

    def __init__(
        self, *, polls: Polls, inlet: Inlet, receipts: Receipts, tally: DeviceTally
    ) -> None:
        self._polls = polls
        self._inlet = inlet
        self._receipts = receipts
        self._tally = tally
        self._come: deque[tuple[Handed, bytes, bytes]] = deque()
        """What this round of the loop brought: the reports, their receipts and bodies."""

    def take(
        self,
        session: Session,
        receipt: bytes,
        body: bytes,
        tell: Callable[[Answer], None],
    ) -> "Answer | Handed":
        """The answer, where it is at hand; else `tell` is called once, later and never at once.

        `receipt`: the device's last one, as it came; empty: it has none.
        """
        handed = Handed(self, session, tell)
        answer = self._take(handed, receipt, body)
        return handed if answer is None else answer

    def take_together(
        self,
        session: Session,
        receipt: bytes,
        body: bytes,
        tell: Callable[[Answer], None],
    ) -> "Handed":
        """As `take`, with all others that come in this round: `tell` is called in any case.

        A processor does the same work again and again quicker than by turns with polls.
        """
        handed = Handed(self, session, tell)
        if not self._come:
            asyncio.get_running_loop().call_soon(self._take_all)
        self._come.append((handed, receipt, body))
        return handed

    def _take_all(self) -> None:
        come, self._come = self._come, deque()
        while come:  # What was read is let go at once: the next is read into the same memory.
            handed, receipt, body = come.popleft()
            try:
                answer = self._take(handed, receipt, body)
            except Exception as failure:  # noqa: BLE001 whatever it was, the others get their answers
                log.error("reports.unanswered", device=handed.session.slug, error=repr(failure))
                answer = _FAILED
            if answer is not None:
                handed.tell(answer)

    def _take(self, handed: "Handed", receipt: bytes, body: bytes) -> Answer | None:
        """The answer, where it is at hand; None: they are handed in."""
        session, now = handed.session, time.time()
        if session.expires_at <= now or not session.is_live:
            # It ran out, was revoked or replaced by a newer one while the body came.
            self._tally.turned_away["session"] += 1
            return NO_SESSION
        if (too_soon := self._polls.count(session, now)) is not None:
            return too_soon
        try:
            parsed = reports.parse_many(plain_json.parse(body))
        except Refused as refused:
            self._tally.reports[session.organization, "refused"] += 1
            return refusal(refused)
        if not parsed:
            return Answer(204)
        handed.number = len(parsed)
        try:
            self._inlet.hand_in(session.device_seq, self._proved(session, receipt, parsed), handed)
        except Full:
            self._tally.turned_away["busy"] += 1
            return BUSY
        return None

    def _proved(
        self, session: Session, receipt: bytes, parsed: tuple[Report, ...]
    ) -> tuple[Report, ...]:
        """The reports, the first with what the device can prove that was acknowledged before."""
        if not receipt:
            return parsed
        acknowledged = self._receipts.read(session, receipt.decode("latin-1"))
        return (replace(parsed[0], acknowledged=acknowledged), *parsed[1:])

    def outcome(
        self, session: Session, number: int, heard: Heard | None, error: Exception | None
    ) -> Answer:
        """What is said of so many reports, once they are committed or cannot be."""
        if error is not None:
            # Why is in the log of the inlet, once for all who waited.
            return STORE_AWAY if isinstance(error, AWAY) else _FAILED
        assert heard is not None
        self._tally.reports[session.organization, "accepted"] += number
        receipt = self._receipts.write(session, heard, int(time.time()))
        if not receipt:
            return Answer(204)
        return Answer(204, headers=((RECEIPT.decode(), receipt),), is_of_one=True)


class Handed:
    """Reports that wait for their commit."""

    __slots__ = ("_reporting", "_tell", "number", "session")

    def __init__(
        self, reporting: Reporting, session: Session, tell: Callable[[Answer], None]
    ) -> None:
        self._reporting = reporting
        self.session = session
        self.number = 0
        """How many they are, once they are read."""
        self._tell: Callable[[Answer], None] | None = tell

    def give_up(self) -> None:
        """Whoever asked is gone; the reports are kept all the same."""
        self._tell = None

    def __call__(self, heard: Heard | None, error: Exception | None) -> None:
        """The inlet tells what came of them."""
        try:
            answer = self._reporting.outcome(self.session, self.number, heard, error)
        except Exception as failure:  # noqa: BLE001 whatever it was, no report stays without an answer
            log.error("reports.unanswered", device=self.session.slug, error=repr(failure))
            answer = _FAILED
        self.tell(answer)

    def tell(self, answer: Answer) -> None:
        """Answer whoever asked, if he is still there."""
        tell, self._tell = self._tell, None
        if tell is None:
            return
        try:
            tell(answer)
        except Exception as failure:  # noqa: BLE001 whatever it was, the others get their answers
            log.error("reports.untold", device=self.session.slug, error=repr(failure))
