"""The life of one simulated device: enrol, then poll, converge, report and wait, as the agent does.

What to do is the agent's own `decide`, how long to wait its own `Rhythm`. Whatever goes wrong is
counted, and the device goes on.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, replace

import structlog

from towline.agent.actions import Action, Hold
from towline.agent.decide import decide
from towline.agent.device import SILENCE_S
from towline.agent.report_batch import batch
from towline.agent.rhythm import LEAST_PAUSE_S, LONG_POLL_S, Polled, Rhythm, renew_at
from towline.agent.server import SHUT_OUT, Answer, Denied
from towline.agent.wire import Unreachable
from towline.reconciler.failure_model import Chance, FailureModel
from towline.schemas import root as roots
from towline.schemas.problems import Refused
from towline.schemas.reports import REPORTS_LIMIT
from towline.schemas.root import Root
from towline.swarm.ack_log import AckLog
from towline.swarm.calls import Calls, Wire
from towline.swarm.device import FACTS, Device
from towline.swarm.figures import REFUSED
from towline.swarm.playing import Playing

log = structlog.get_logger()


@dataclass(slots=True)
class Trusted:
    """The newest root that a process has followed; all its devices share it."""

    root: Root


class Life:
    """One device; `live` returns only when it is cancelled."""

    def __init__(
        self,
        device: Device,
        wire: Wire,
        trusted: Trusted,
        model: FailureModel,
        chance: Chance,
        ack_log: AckLog | None,
    ) -> None:
        self.device = device
        self.is_offline = False
        self._figures = wire.figures
        self._calls = Calls(device, wire)
        self._trusted = trusted
        self._model = model
        self._chance = chance
        self._ack_log = ack_log
        self._playing = Playing(device, model, chance, self._send)
        self._rhythm = Rhythm()
        self._is_enrolled = False
        self._is_refused = False
        self._silent_until = 0.0

    async def live(self, join_token: str) -> None:
        """Enrol, then follow the server."""
        try:
            await self._enrol(join_token)
            await self._stay_away()
            while True:
                await asyncio.sleep(await self._turn())
        finally:
            self._calls.close()

    @property
    def at(self) -> str:
        """What the device is at, in one word."""
        if self.is_offline:
            return "offline"
        if self._is_refused:
            return REFUSED
        if not self._is_enrolled:
            return "enrolling"
        attempt = self.device.journal.attempt
        return "waiting" if attempt is None else "working"

    async def _enrol(self, join_token: str) -> None:
        while not self._is_enrolled:
            try:
                await self._calls.enrol(join_token)
                self._is_enrolled, self._is_refused = True, False
            except Unreachable:
                await asyncio.sleep(self._rhythm.after(Polled.FAILED))
            except Denied:
                self._is_refused = True
                await asyncio.sleep(self._rhythm.after(Polled.REVOKED))

    async def _stay_away(self) -> None:
        """A share of the devices is not in touch from the beginning, for a while or for good."""
        if self._chance.share() >= self._model.offline:
            return
        self._calls.close()
        self.is_offline = True
        away_s = self._model.offline_for_s
        if away_s is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(self._chance.length(away_s))
        self.is_offline = False

    async def _turn(self) -> float:
        """Poll and act on the answer; seconds until the next turn."""
        try:
            await self._converge()
            polled = await self._poll()
            is_changed = await self._converge()
        except Exception as error:
            log.exception("swarm.failed", device=self.device.id)
            self._figures.errors[f"bug {type(error).__name__}"] += 1
            polled, is_changed = Polled.FAILED, False
        if self.device.document is not None:
            self._rhythm.interval_s = self.device.document.poll_after_s
        pause_s = self._rhythm.after(polled)
        return LEAST_PAUSE_S if is_changed else min(pause_s, self._until_opening())

    def _until_opening(self) -> float:
        """Seconds to the first time that a hold names; the agent spreads them, too."""
        holds = [each for each in decide(self.device.snapshot()) if isinstance(each, Hold)]
        named = [each.until - time.time() for each in holds if each.until is not None]
        return max(LEAST_PAUSE_S, min(named)) if named else float("inf")

    async def _converge(self) -> bool:
        """Decide and apply until only holds are left; True when something was done."""
        is_changed = False
        while action := _next(decide(self.device.snapshot())):
            await self._playing.apply(action)
            is_changed = True
        return is_changed

    async def _poll(self) -> Polled:
        began = time.monotonic()
        try:
            await self._calls.open_session()
            self._silent_until = 0.0
            self._tell_facts()
            await self._send()
            answer, nonce, wait_s = await self._ask()
            if answer.status == 304:
                self.device.answered_at = time.monotonic()
                is_parked = wait_s > 0 and time.monotonic() - began >= wait_s / 2
                return Polled.PARKED if is_parked else Polled.UNCHANGED
            return await self._accept(answer, nonce)
        except Denied as denied:
            return Polled.REVOKED if denied.code in SHUT_OUT else Polled.FAILED
        except Unreachable:
            return Polled.FAILED

    def _tell_facts(self) -> None:
        device = self.device
        if not device.journal.facts:
            device.tell()
            device.journal = replace(device.journal, facts=FACTS)

    async def _ask(self) -> tuple[Answer, str, int]:
        """One poll, with one new session if the old one has ended."""
        device = self.device
        for is_last in (False, True):
            nonce = secrets.token_urlsafe(16)
            is_old = device.document is None or time.time() >= renew_at(device.document)
            etag = "" if is_old else device.etag
            wait_s = LONG_POLL_S if etag else 0
            try:
                return await self._calls.poll(nonce, etag, wait_s), nonce, wait_s
            except Denied as denied:
                if denied.code != "session" or is_last:
                    raise
                await self._calls.open_session()
        raise AssertionError("the second try returns or raises")

    async def _accept(self, answer: Answer, nonce: str) -> Polled:
        device, etag = self.device, answer.headers.get("etag", "")
        try:
            try:
                is_new = device.accept(answer.body, self._trusted.root, nonce, etag)
            except Refused:
                if not await self._follow_root():
                    raise
                is_new = device.accept(answer.body, self._trusted.root, nonce, etag)
        except Refused as refused:
            self._figures.errors[f"document {refused.code}"] += 1
            device.refuse(refused.code)
            await self._send()
            return Polled.FAILED
        device.answered_at = time.monotonic()
        return Polled.CHANGED if is_new else Polled.UNCHANGED

    async def _follow_root(self) -> bool:
        """Take newer roots; True when there was one, perhaps found by another device."""
        before = self._trusted.root.version
        while data := await self._calls.root(self._trusted.root.version + 1):
            self._trusted.root = roots.succeed(self._trusted.root, data)
        return self._trusted.root.version > before

    async def _send(self) -> None:
        """Send what waits, in order; what is not acknowledged stays and is sent again."""
        device = self.device
        if time.monotonic() < self._silent_until:
            return
        while waiting := batch(device.journal.outbox, REPORTS_LIMIT):
            try:
                await self._calls.open_session()
                await self._calls.report(waiting)
            except Unreachable:
                self._silent_until = time.monotonic() + SILENCE_S
                return
            except Denied:
                return
            if self._ack_log is not None:
                self._ack_log.note(device.organization, device.id, waiting)
            device.journal = device.journal.acknowledged(waiting[-1]["reportSeq"])


def _next(actions: list[Action]) -> Action | None:
    return next((action for action in actions if not isinstance(action, Hold)), None)
