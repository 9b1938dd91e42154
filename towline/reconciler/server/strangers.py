"""Calls of those who have no session, which cost a signature and a look into the store each.

Who is refused too often waits. A device that is known by the id and the key that it names is
counted for itself at its address, and everything else for the address: so neither a device that is
broken nor a flood of made-up ids keeps the other devices behind the same address out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from towline.reconciler.server.admission import Admission
from towline.reconciler.server.device_rates import DeviceRates, is_counted, too_many_failures
from towline.reconciler.server.wire import Answer
from towline.reconciler.tallies import DeviceTally
from towline.schemas import envelope, fields, strict_json
from towline.schemas.problems import Refused

ASKED_AT_ONCE = 4
"""So many of those from a flooding address are looked for in the store at once."""


class Claim(NamedTuple):
    """Who somebody says to be; nothing of it is proved."""

    organization: str
    device: str
    keyid: str


class Strangers:
    """Lets them be looked at; belongs to the event loop's thread."""

    def __init__(self, admission: Admission, rates: DeviceRates, tally: DeviceTally) -> None:
        self._admission = admission
        self._rates = rates
        self._tally = tally
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)

    async def open_session(self, source: str, body: bytes) -> Answer:
        """Answer a session request; raises Full."""
        return await self._admit(source, body, lambda: self._admission.open_session(body))

    async def enrol(self, source: str, body: bytes, join_token: str | None) -> Answer:
        """Answer an enrolment, or the renewal of a key; raises Full."""
        return await self._admit(
            source, body, lambda: self._admission.enrol(body, join_token, source)
        )

    async def _admit(
        self, source: str, body: bytes, look: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        claim, now = _claim(body), time.time()
        wait_s = self._rates.wait_of_known_s(source, claim, now) if claim else 0
        if not wait_s and (wait_s := self._rates.wait_s(source, now)) and await self._knows(claim):
            wait_s = 0
        if wait_s:
            self._tally.turned_away["failures"] += 1
            return too_many_failures(source, wait_s)
        answer = await look()
        if is_counted(answer):
            known = claim if await self._knows(claim) else None
            self._rates.note_refused(source, known, time.time())
        return answer

    async def _knows(self, claim: Claim | None) -> bool:
        if claim is None:
            return False
        async with self._asking:
            return await asyncio.to_thread(self._admission.knows, *claim)


def _claim(body: bytes) -> Claim | None:
    """That of a session request or a renewal; an enrolment names a key that is new."""
    try:
        document = strict_json.parse_object(envelope.parse(body).payload)
        return Claim(
            fields.identifier(document, "organization"),
            fields.identifier(document, "device"),
            fields.digest(document, "deviceKey"),
        )
    except Refused:
        return None
