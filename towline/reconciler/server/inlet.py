"""The inlet: one thread that writes what devices bring, many of them in one transaction.

Whatever came while a transaction was written goes into the next one, so that the disk and the
event loop set the pace (`letterbox`) and nobody waits for a timer. A report is acknowledged only
after its commit. Whoever would wait too long for that is asked to come later: what is written all
the same counts once.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from towline.reconciler import ingest
from towline.reconciler.observe import SEEN_POLLS
from towline.reconciler.server.letterbox import Letterbox
from towline.reconciler.server.letters import Errand, Letter, T, Told, Waiting, settle, tell
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.turn import WORTH_A_TURN, Turn
from towline.reconciler.store import dirt, presence
from towline.reconciler.store.engine import AWAY, Store, is_postgres
from towline.reconciler.store.trouble import is_of_all, while_serving
from towline.reconciler.tallies import InletTally
from towline.schemas.reports import Report

LETTERS_PER_FLUSH = 500
LETTERS_LIMIT = 10_000
"""So many wait at most, with room for each in memory; who comes then is asked to come later."""
PRESENCE_S = 60
FETCHED_S = 0.5
"""What was served is written so late, for many at once: nobody waits for it."""
SEEN_AT_ONCE = 2000
"""Others write between two transactions of presence: of 100,000 devices there are 50."""

log = structlog.get_logger()

_K = TypeVar("_K")
_V = TypeVar("_V")


class Full(Exception):
    """More waits to be written than the inlet takes."""


@dataclass(slots=True)
class _Flush:
    """What one transaction takes in."""

    letters: list[Letter] = field(default_factory=list)
    fetched: dict[tuple[int, str], None] = field(default_factory=dict)
    """Devices and components."""
    seen: dict[int, int] = field(default_factory=dict)


class Inlet:
    """Owns the writing thread. All but `start` and `stop` belongs to one event loop's thread.

    While that has a `Turn` the loop sleeps, and not for long. On Postgres most of the work is
    another process', and the loop would sleep for that.
    """

    def __init__(
        self,
        store: Store,
        *,
        poll_interval_s: int,
    ) -> None:
        self._store = store
        self._poll_interval_s = poll_interval_s
        self._is_lent = not is_postgres(store.engine)
        self._letters = Letterbox(
            enough=LETTERS_PER_FLUSH, is_lending=store.is_free if self._is_lent else None
        )
        self._unanswered = Waiting()
        self._fetched: dict[tuple[int, str], None] = {}
        self._seen: deque[Traces] = deque()
        self._owed = _Flush()
        """What could not be written goes into the next flush."""
        self._presence_at = time.monotonic()
        self._fetched_at = self._presence_at
        self._is_stopping = False
        self.tally = InletTally()
        self._thread = threading.Thread(target=self._run, name="inlet")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, then end."""
        self._is_stopping = True
        self._letters.nudge()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """How many requests wait to be written."""
        return len(self._letters)

    def hand_in(self, device_seq: int, reports: Sequence[Report], told: Told) -> None:
        """Hand in reports; once they are committed, `told` has what is heard of the device.

        Raises Full.
        """
        # Python asks the system each time who asks for the loop.
        loop = self._letters.loop or asyncio.get_running_loop()
        self._post(Letter(loop, told, device_seq, reports))

    def write(self, errand: "Errand[T]") -> "asyncio.Future[T]":
        """Let something else be written beside the reports; the future has what it returned.

        Raises Full.
        """
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        self._post(Letter(loop, partial(settle, answered), errand=errand))
        return answered

    def _post(self, letter: Letter) -> None:
        if len(self._letters) >= LETTERS_LIMIT:
            raise Full
        self._unanswered.add(letter)
        self._letters.put(letter)

    def fetched(self, device_seq: int, components: Collection[str]) -> None:
        """The device was served a document with something to do for these components."""
        if not self._fetched:
            self._fetched_at = time.monotonic() + FETCHED_S
        self._fetched.update(dict.fromkeys((device_seq, each) for each in components))
        if len(self._fetched) <= len(components):  # The thread does not know of any yet.
            self._letters.nudge()

    def seen(self, of: Traces, now: int) -> None:
        """The device spoke; written with the next flush of presence."""
        of.seen_at = now
        if not of.is_seen:
            of.is_seen = True
            self._seen.append(of)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._called() as turn:
                flush, is_last = self._take()
                self._write(flush, turn)

    def _called(self) -> Turn:
        """Until letters are to be written, or it is time for what else is."""
        while not self._is_stopping:
            due = min(self._presence_at, self._fetched_at) if self._fetched else self._presence_at
            turn = self._letters.wait(due - time.monotonic())
            if turn is not None:
                return turn
        return Turn()

    def _take(self) -> tuple[_Flush, bool]:
        """What is to be written now, and whether nothing comes after it."""
        taken = _Flush()
        self._take_more(taken.letters)
        is_last, now = self._is_stopping and not self._letters, time.monotonic()
        if is_last or now >= self._fetched_at:
            taken.fetched = emptied(self._fetched)
        if is_last or now >= self._presence_at:
            taken.seen = _last_seen(self._seen)
            self._presence_at = now + min(PRESENCE_S, self._poll_interval_s)
        return taken, is_last

    def _take_more(self, letters: list[Letter]) -> None:
        """What waits as well, as far as there is room for it in a flush."""
        letters += self._letters.collect(LETTERS_PER_FLUSH - len(letters))
        # Who was told that it takes too long sends it again, and may have done so elsewhere.
        letters[:] = [letter for letter in letters if not letter.is_answered]

    def _write(self, flush: _Flush, turn: Turn) -> None:
        owed, self._owed = self._owed, _Flush()
        fetched, seen = owed.fetched | flush.fetched, owed.seen | flush.seen
        try:
            if flush.letters or fetched:
                with self.tally.flushes.timed():
                    self._commit(flush.letters, fetched, turn)
        except Exception as error:  # noqa: BLE001 whatever it was, each letter gets its answer
            self.tally.failed_flushes += 1
            self._owed.fetched = fetched
            if isinstance(error, AWAY) and is_of_all(error):
                self._put_off(flush.letters, seen, error)
                return
            log.error("inlet.failed", error=repr(error))
            # One bad letter must not keep the others from being acknowledged, but those of the same
            # device: with a later number in the store it would count as told when it comes again.
            failed: dict[int | None, Exception] = {}
            for letter in flush.letters:
                letter.error = failed.get(letter.device_seq)
                if letter.error is None:
                    self._write_alone(letter)
                if letter.error is not None and letter.reports:
                    failed[letter.device_seq] = letter.error
                tell([letter])
        else:
            tell(flush.letters)
        self._write_seen(seen)

    def _write_seen(self, seen: Mapping[int, int]) -> None:
        """What cannot be written is tried again with the next flush."""
        is_away = False
        for piece in _pieces(seen):
            if is_away:
                self._owed.seen |= piece
                continue
            try:
                self._commit_seen(piece)
            except Exception as error:  # noqa: BLE001 whatever it was, it is tried again
                log.error("presence.failed", error=repr(error))
                self._owed.seen |= piece
                is_away = isinstance(error, AWAY)

    def _put_off(
        self, letters: Sequence[Letter], seen: Mapping[int, int], error: Exception
    ) -> None:
        """Nothing can be written now: to try each by itself would keep all waiting for nothing."""
        log.error("inlet.store-away", **while_serving(self._store.engine, error))
        self._owed.seen |= seen
        for letter in letters:
            letter.error = error
        tell(letters)

    def _write_alone(self, letter: Letter) -> None:
        try:
            with self._store.write() as connection:
                self._take_in(connection, [letter])
        except Exception as error:  # noqa: BLE001 whatever it was, the letter gets its answer
            log.error("letter.failed", device=letter.device_seq, error=repr(error))
            letter.error = error

    def _commit(
        self, letters: list[Letter], fetched: Collection[tuple[int, str]], turn: Turn
    ) -> None:
        with self._store.write() as connection:
            if self._is_lent and len(letters) + len(fetched) >= WORTH_A_TURN:
                self._take_turn(turn)
            self._take_more(letters)
            self._take_in(connection, letters)
            ingest.mark_fetched(connection, int(time.time()), fetched)
            turn.end()  # The disk is waited for without it.

    def _take_turn(self, turn: Turn) -> None:
        if (loop := self._letters.loop) is not None:
            turn.take(loop)

    def _take_in(self, connection: Connection, letters: Sequence[Letter]) -> None:
        now = int(time.time())
        reports = [(each.device_seq, report) for each in letters for report in each.reports]
        heard = ingest.take_in(connection, now, reports, self._silent_since(now)).heard
        for letter in letters:
            letter.run(connection, heard)

    def _silent_since(self, now: int) -> int:
        """Whoever was not heard of since then is silent."""
        return now - SEEN_POLLS * self._poll_interval_s

    def _commit_seen(self, seen: Mapping[int, int]) -> None:
        silent_since = self._silent_since(int(time.time()))
        with self._store.write() as connection:
            returned = presence.returned(connection, seen, silent_since)
            # The next pass looks again when a device is back that was silent for long.
            for organization in returned:
                dirt.mark_all(connection, organization)
            presence.mark_seen(connection, seen)


def _last_seen(waiting: deque[Traces]) -> dict[int, int]:
    """When each device spoke, taken out; who speaks meanwhile finds that it is not written yet."""
    found: dict[int, int] = {}
    for _ in range(len(waiting)):
        of = waiting.popleft()
        of.is_seen = False
        found[of.device_seq] = max(of.seen_at, found.get(of.device_seq, 0))
    return found


def _pieces(seen: Mapping[int, int]) -> Iterator[dict[int, int]]:
    devices = sorted(seen)
    for first in range(0, len(devices), SEEN_AT_ONCE):
        yield {device: seen[device] for device in devices[first : first + SEEN_AT_ONCE]}


def emptied(changing: dict[_K, _V]) -> dict[_K, _V]:
    """All that is in it now is taken out; another thread may put something in meanwhile."""
    return {key: changing.pop(key) for key in list(changing)}
