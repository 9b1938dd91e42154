"""The calls of docs/device-protocol.md as a simulated device makes them, counted and timed.

Like the agent's `server`: one connection is kept, one that the server has closed meanwhile is
opened once more, and an answer that is no success is Unreachable (later again) or Denied.
"""

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import towline
from towline.agent.report_batch import encode
from towline.agent.server import EXCHANGE_DEADLINE_S, Answer, Denied
from towline.agent.wire import Unreachable
from towline.schemas.enrolment import EnrolmentRequest, SessionRequest
from towline.swarm.device import Device
from towline.swarm.figures import Figures
from towline.swarm.line import Address, Line, TooLate, connect, request

_RENEWAL = 0.8
"""Sessions are renewed at this share of their life."""
_PATH = "/api/v1/ota"
OPENING_AT_ONCE = 64
"""Handshakes, enrolments and sessions under way in a process: a fleet does not start in a second,
and what waits here is not counted as the server's time."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What all devices of a process share."""

    address: Address
    context: ssl.SSLContext
    figures: Figures
    opening: asyncio.Semaphore


class Calls:
    """One device's calls; they raise Unreachable or Denied, each counted as an error."""

    def __init__(self, device: Device, wire: Wire) -> None:
        self._device = device
        self._wire = wire
        self._line: Line | None = None
        self._token = ""
        self._renew_at = 0.0

    async def enrol(self, join_token: str) -> None:
        """Become known."""
        device = self._device
        wanted = EnrolmentRequest(
            device.organization,
            device.id,
            device.key.public,
            device.device_type,
            towline.__version__,
        )
        headers = {"Authorization": f"Join {join_token}"}
        async with self._wire.opening:
            body = wanted.sign(device.key).to_bytes()
            await self._call("enrol", "POST", "/enroll", headers, body, good=(201,))

    async def open_session(self) -> None:
        """Have a token that still serves."""
        if self._token and time.monotonic() < self._renew_at:
            return
        async with self._wire.opening:
            await self._open_session()

    async def _open_session(self) -> None:
        device = self._device
        wanted = SessionRequest(
            organization=device.organization,
            device=device.id,
            keyid=device.key.public.keyid,
            nonce=secrets.token_urlsafe(16),
            boot_id=device.journal.journal,
            issued_at=int(time.time()),
            last_sequence=device.trust.sequence,
        )
        body = wanted.sign(device.key).to_bytes()
        answer = await self._call("session", "POST", "/session", {}, body, good=(200,))
        document = json.loads(answer.body)
        self._token = document["token"]
        self._renew_at = time.monotonic() + document["expiresIn"] * _RENEWAL

    async def poll(self, nonce: str, etag: str, wait_s: int) -> Answer:
        """Ask for the document: 200 or 304."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Towline-Nonce": nonce,
            "Towline-Sequence": str(self._device.trust.sequence),
        }
        if etag:
            headers["If-None-Match"] = etag
        answer = await self._call(
            "poll", "GET", f"/desired-state?wait={wait_s}", headers, good=(200, 304), wait_s=wait_s
        )
        self._wire.figures.polls["document" if answer.status == 200 else "unchanged"] += 1
        return answer

    async def report(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Send reports; they are committed when this returns."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        await self._call("report", "POST", "/reports", headers, encode(reports), good=(204,))
        self._wire.figures.reports += len(reports)

    async def root(self, number: int) -> bytes | None:
        """The organization's signed root of that version; None when there is none yet."""
        path = f"/root/{number}?organization={self._device.organization}"
        answer = await self._call("root", "GET", path, {}, good=(200, 404))
        return answer.body if answer.status == 200 else None

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    async def _call(
        self,
        call: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        good: tuple[int, ...],
        wait_s: int = 0,
    ) -> Answer:
        data = request(self._wire.address, method, _PATH + path, headers, body)
        try:
            answer, took_s = await self._exchange(data, wait_s)
        except Unreachable as error:
            self._wire.figures.errors[f"{call} {error}"] += 1
            raise
        if answer.status not in good:
            raise self._bad(call, answer)
        # What a parked poll waited for is no latency; one that was woken tells nothing.
        if not wait_s or answer.status == 304:
            self._wire.figures.took(call, max(0.0, took_s - wait_s))
        return answer

    async def _exchange(self, data: bytes, wait_s: int) -> tuple[Answer, float]:
        """The answer and how long it took; once more on a new line when an old one is dead."""
        line = self._line
        if line is not None and line.is_open:
            try:
                return await self._ask(line, data, wait_s)
            except TooLate:
                raise
            except Unreachable:
                pass
        began = time.monotonic()
        self._line = await connect(self._wire.address, self._wire.context)
        self._wire.figures.took("connect", time.monotonic() - began)
        return await self._ask(self._line, data, wait_s)

    @staticmethod
    async def _ask(line: Line, data: bytes, wait_s: int) -> tuple[Answer, float]:
        began = time.monotonic()
        answer = await line.ask(data, EXCHANGE_DEADLINE_S + wait_s)
        return answer, time.monotonic() - began

    def _bad(self, call: str, answer: Answer) -> Exception:
        try:
            problem = json.loads(answer.body)
        except ValueError:
            problem = {}
        code = str(problem.get("code") or "")
        if answer.status == 401 and code == "session":
            # A token that has run out, or another server's: not the server's fault, asked anew.
            self._token = ""
        else:
            self._wire.figures.errors[f"{call} {answer.status} {code}".rstrip()] += 1
        if not 400 <= answer.status < 500 or answer.status == 429:
            return Unreachable(f"{call}: {answer.status}")
        return Denied(answer.status, code, str(problem.get("detail") or ""), problem)
