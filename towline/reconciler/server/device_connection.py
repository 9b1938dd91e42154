"""Connections on which a device's polls and reports are answered without the way through ASGI.

That way costs more than all the rest of an unchanged poll. What is no plain call goes it as ever:
a poll that is not whole in one piece, reports of which the head is not or that do not say how long
they are or are too long, everything with a next call behind it, with an upgrade, of HTTP/1.0, for a
connection that is to be closed or does not take in its answers, or of a session that is not known
here.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from towline.reconciler.server import wire
from towline.reconciler.server.plain_calls import Call, PlainCalls
from towline.reconciler.server.polls import FAILED, Polls, Waiting, token_of
from towline.reconciler.server.reporting import RECEIPT, Handed, Reporting
from towline.reconciler.server.sessions import Session
from towline.reconciler.server.wire import DEVICE_BODY_LIMIT, Answer, problem

PATH = b"/api/v1/ota/desired-state"
REPORTS = b"/api/v1/ota/reports"
_CALLS = (b"GET " + PATH, b"POST " + REPORTS)
BESIDE_LIMIT = 128 * 1024
"""Bytes of a message beside its body: its head and the frames of its chunks, whoever sends it."""
ARRIVAL_S = 60
"""So long a message may take until it is whole."""
_TOO_MUCH = problem(431, "too-large", f"a head is at most {BESIDE_LIMIT} bytes")

log = structlog.get_logger()


def connections(polls: Polls, reporting: Reporting) -> type[HttpToolsProtocol]:
    """The class of connections that know these rules, as uvicorn makes them."""
    own = {"polls": polls, "reporting": reporting, "plain_calls": PlainCalls(), "__slots__": ()}
    return type("DeviceConnection", (_DeviceConnection,), own)


@dataclass(slots=True)
class _Arriving:
    """Reports of which the head is here, and the body is yet to come."""

    session: Session
    receipt: bytes
    length: int
    body: bytes


class _DeviceConnection(HttpToolsProtocol):
    """One connection, whoever has it."""

    __slots__ = (
        "_arriving",
        "_began",
        "_behind",
        "_beside",
        "_closes",
        "_idle_since",
        "_idle_timer",
        "_is_begun",
        "_own",
    )
    polls: Polls
    reporting: Reporting
    plain_calls: PlainCalls

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._own: Waiting | Handed | None = None
        """The call of this connection that waits for its answer."""
        self._behind = b""
        """What came behind it, to be read after its answer."""
        self._beside = 0
        """How much of the message at hand came beside its body."""
        self._arriving: _Arriving | None = None
        self._began = 0.0
        """When the message at hand did."""
        self._is_begun = False
        """It is not whole yet."""
        self._closes = False
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Nobody stays who says nothing."""
        super().connection_made(transport)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a call waits: answers go out in the order of their requests."""
        idle_since, self._idle_since = self._idle_since, None
        self._unset_keepalive_if_required()  # uvicorn's timer, after an answer of its own
        if self._own is not None:
            self._behind += data
            self.flow.pause_reading()
            return
        if self._arriving is not None:
            self._go_on_arriving(self._arriving, data)
            return
        if data.startswith(_CALLS) and self._is_free() and self._take(data):
            return
        self._beside += len(data)
        super().data_received(data)
        if self._beside > BESIDE_LIMIT:
            self._refuse()
        elif self._is_free() and not self.transport.is_closing():
            self._rest(idle_since)  # Line ends, or a body that was answered before it came.

    def on_message_begin(self) -> None:
        """A request that is uvicorn's."""
        super().on_message_begin()
        self._begin_message()

    def _begin_message(self) -> None:
        self._is_begun, self._began = True, self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(ARRIVAL_S, self._close_idle)

    def on_body(self, body: bytes) -> None:
        """A part of its body; no more of it comes than its head says."""
        self._beside -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Its end."""
        self._beside, self._is_begun = 0, False
        super().on_message_complete()

    def _refuse(self) -> None:
        """Nothing else would stop a head that never ends from filling the memory."""
        if self.cycle is None or self.cycle.response_complete:
            self._closes = True
            self._send(_TOO_MUCH)
        else:
            self.transport.close()

    def _is_free(self) -> bool:
        """Nothing has begun, and all that came before is answered, the answers taken in."""
        return (
            not self._is_begun
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        )

    def _take(self, data: bytes) -> bool:
        """False where something is unusual, or its session is not known and must be looked up."""
        call = self.plain_calls.read(data)
        if call is None or len(data) - len(call.body) > BESIDE_LIMIT:
            return False
        now = time.time()
        session = self.polls.sessions.find(token_of(call.headers), int(now))
        if session is None:
            return False
        self._beside = 0  # What came between two messages is of none.
        if data.startswith(b"GET"):
            return self._take_poll(session, call, now)
        return self._take_reports(session, call)

    def _take_poll(self, session: Session, call: Call, now: float) -> bool:
        path, _, query = call.target.partition(b"?")
        if path != PATH or b"#" in query or b"content-length" in call.headers:
            return False
        try:
            found = self.polls.judge(session, call.headers, query, now)
        except Exception as failure:  # noqa: BLE001 whatever it was, no poll stays without an answer
            log.error("poll.unanswered", device=session.slug, error=repr(failure))
            found = FAILED
        if isinstance(found, Answer):
            self._send(found)
        else:
            self._own = Waiting(self.polls, found, self._told_soon)
        return True

    def _take_reports(self, session: Session, call: Call) -> bool:
        """As `_take_poll`; their body may be yet to come."""
        if call.target != REPORTS or b"content-length" not in call.headers:
            return False
        receipt, length = call.headers.get(RECEIPT, b""), len(call.body) + call.missing
        if length > DEVICE_BODY_LIMIT:
            return False
        if not call.missing:
            self._hand_in(session, receipt, call.body)
        elif wire.arriving.size + length > wire.ARRIVING_LIMIT:
            return False
        else:
            wire.arriving.size += length
            self._arriving = _Arriving(session, receipt, length, call.body)
            self._begin_message()
        return True

    def _go_on_arriving(self, arriving: _Arriving, data: bytes) -> None:
        missing = arriving.length - len(arriving.body)
        arriving.body += data[:missing]
        if len(data) < missing:
            return
        self._end_arriving()
        self._hand_in(arriving.session, arriving.receipt, arriving.body)
        if behind := data[missing:]:
            self.data_received(behind)

    def _end_arriving(self) -> None:
        if self._arriving is not None:
            wire.arriving.size -= self._arriving.length
            self._arriving, self._is_begun = None, False

    def _hand_in(self, session: Session, receipt: bytes, body: bytes) -> None:
        self._own = self.reporting.take_together(session, receipt, body, self._told)

    def _told_soon(self, answer: Answer) -> None:
        """Send it in the loop's next round, with all else that is made in this one.

        Writing to one after the other costs less than signing a document before each: who reads
        does not fall asleep in between, to be woken anew.
        """
        self.loop.call_soon(self._told, answer)

    def _told(self, answer: Answer) -> None:
        if self._own is None:
            return  # the device went away meanwhile
        self._own = None
        self._send(answer)
        if self._behind and not self.transport.is_closing():
            data, self._behind = self._behind, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _send(self, answer: Answer) -> None:
        content = [STATUS_LINE[answer.status]]
        for name, value in self.server_state.default_headers:
            content += (name, b": ", value, b"\r\n")
        content.append(answer.header_lines())
        if self._closes:
            content.append(b"connection: close\r\n")
        content += (b"\r\n", answer.body)
        self.transport.write(b"".join(content))
        self.server_state.total_requests += 1
        if self._closes:
            self.transport.close()
        else:
            self._rest()

    def _rest(self, since: float | None = None) -> None:
        """Close the connection when nothing more comes, as uvicorn does; `since`: None: from now.

        One timer runs on over many requests: to make one for each costs more than to look twice.
        """
        self._idle_since = self.loop.time() if since is None else since
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_idle)

    def _close_idle(self) -> None:
        self._idle_timer = None
        if (until := self._until()) is None or self.transport.is_closing():
            return
        left = until - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left, self._close_idle)

    def _until(self) -> float | None:
        """How long the other side is waited for; None: it waits for an answer."""
        if self._idle_since is not None:
            return self._idle_since + self.timeout_keep_alive
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering and not self.cycle.more_body:
            # What came behind an open call is read on after its answer.
            self._began = self.loop.time()
        return self._began + ARRIVAL_S if self._beside or self._is_begun else None

    def connection_lost(self, exc: Exception | None) -> None:
        """The device went away."""
        self._end_arriving()
        if self._own is not None:
            self._own.give_up()
            self._own = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: a call that waits is answered first."""
        if self._own is None and self._arriving is None:
            super().shutdown()
        else:
            self._closes = True
