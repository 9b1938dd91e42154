"""Connections on which a device's polls and reports are answered without the way through ASGI.

That way costs more than all the rest of an unchanged poll. What is no plain call goes it as ever:
a poll that is not whole in one piece, reports of which the head is not or that do not say how long
they are, everything with something behind it, with an upgrade, of HTTP/1.0, for a connection that
is to be closed, or of a session that is not known here.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from towline.reconciler.server.polls import Polls, Waiting, token_of
from towline.reconciler.server.reporting import Handed, Reporting
from towline.reconciler.server.sessions import Session
from towline.reconciler.server.wire import DEVICE_BODY_LIMIT, Answer, problem

PATH = b"/api/v1/ota/desired-state"
REPORTS = b"/api/v1/ota/reports"
_HEAD_END = b"\r\n\r\n"
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
_LENGTH = re.compile(rb"[0-9]{1,6}")
BESIDE_LIMIT = 128 * 1024
"""Bytes of a message beside its body: its head and the frames of its chunks, whoever sends it."""
ARRIVAL_S = 60
"""So long a message may take until it is whole."""
_TOO_MUCH = problem(431, "too-large", f"a head is at most {BESIDE_LIMIT} bytes")


def connections(polls: Polls, reporting: Reporting) -> type[HttpToolsProtocol]:
    """The class of connections that know these rules, as uvicorn makes them."""
    known = {"polls": polls, "reporting": reporting, "__slots__": ()}
    return type("DeviceConnection", (_DeviceConnection,), known)


@dataclass(slots=True)
class _Arriving:
    """Reports of which the head is here, and the body may be yet to come."""

    session: Session
    headers: dict[bytes, bytes]
    missing: int
    body: bytes = b""


class _DeviceConnection(HttpToolsProtocol):
    """One connection, whoever has it."""

    __slots__ = (
        "_arriving",
        "_began",
        "_began_here",
        "_behind",
        "_beside",
        "_closes",
        "_idle_since",
        "_idle_timer",
        "_is_begun",
        "_is_own",
        "_own",
        "_past_head",
    )
    polls: Polls
    reporting: Reporting

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._own: Waiting | Handed | None = None
        """The call of this connection that waits for its answer."""
        self._behind = b""
        """What came behind it, to be read after its answer."""
        self._beside = 0
        """How much of the message at hand came beside its body."""
        self._arriving: _Arriving | None = None
        self._past_head = -1
        """So much of what arrived now lies behind the first end of a head in it; below 0: none."""
        self._began = 0.0
        """When the message at hand did, or the connection."""
        self._began_here = False
        """The message at hand began in what arrived now."""
        self._is_begun = False
        """It is not whole yet."""
        self._is_own = False
        """The message at hand is answered here."""
        self._closes = False
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Nobody stays who says nothing."""
        super().connection_made(transport)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a call waits: answers go out in the order of their requests."""
        self._idle_since = None
        if self._own is not None:
            self._behind += data
            self.flow.pause_reading()
            return
        behind = b""
        if self._arriving is None:
            end = data.find(_HEAD_END)
            self._past_head = len(data) - end - len(_HEAD_END) if end >= 0 else -1
        else:
            data, behind = data[: self._arriving.missing], data[self._arriving.missing :]
        self._began_here = False
        self._beside += len(data)
        super().data_received(data)
        if self._beside > BESIDE_LIMIT:
            self._refuse()
        if behind and not self.transport.is_closing():
            self.data_received(behind)

    def on_message_begin(self) -> None:
        """What uvicorn needs for it is made once it is known to be uvicorn's."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._is_own = False
        self._began_here, self._is_begun, self._began = True, True, self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(ARRIVAL_S, self._close_idle)

    def on_headers_complete(self) -> None:
        """Answer a plain call here; everything else is uvicorn's."""
        if self._take_poll() or self._take_reports():
            self._is_own, self.headers = True, []
            return
        url, headers, is_expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, is_expected
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body; no more of it comes than its head says."""
        self._beside -= len(body)
        if self._arriving is None:
            super().on_body(body)
        else:
            self._arriving.body += body
            self._arriving.missing -= len(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._beside, self._is_begun = 0, False
        if not self._is_own:
            super().on_message_complete()
        elif self._arriving is not None:
            came, self._arriving = self._arriving, None
            take = self.reporting.take_together
            self._own = take(came.session, came.headers, came.body, self._told)

    def _refuse(self) -> None:
        """Nothing else would stop a head that never ends from filling the memory."""
        if self.cycle is None or self.cycle.response_complete:
            self._closes = True
            self._send(_TOO_MUCH)
        else:
            self.transport.close()

    def _is_plain(self, method: bytes) -> bool:
        """Of a head in pieces it is not known here whether the end that was found is its own."""
        parser = self.parser
        return (
            self._began_here
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == method
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
        )

    def _take_poll(self) -> bool:
        """False where something is unusual, or its session is not known and must be looked up."""
        url = self.url
        if self._past_head != 0 or not url.startswith(PATH) or b"#" in url:
            return False
        if len(url) > len(PATH) and url[len(PATH)] != ord("?"):
            return False
        headers, now = dict(self.headers), time.time()
        if not self._is_plain(b"GET") or b"content-length" in headers:
            return False
        session = self._session(headers, now)
        if session is None:
            return False
        found = self.polls.judge(session, headers, url[len(PATH) + 1 :], now)
        if isinstance(found, Answer):
            self._send(found)
        else:
            self._own = Waiting(self.polls, found, self._told_soon)
        return True

    def _take_reports(self) -> bool:
        """As `_take_poll`, of reports; the body may be yet to come."""
        if self.url != REPORTS or self._past_head < 0:
            return False
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not self._is_plain(b"POST") or _LENGTH.fullmatch(length) is None:
            return False
        missing = int(length)
        # The first end of a head here is the message's own or lies before it: no less is behind.
        if missing > DEVICE_BODY_LIMIT or self._past_head > missing:
            return False
        session = self._session(headers, time.time())
        if session is None:
            return False
        self._arriving = _Arriving(session, headers, missing)
        return True

    def _session(self, headers: dict[bytes, bytes], now: float) -> Session | None:
        """Whose call it is; None where that is not known here, or something is unusual."""
        if not _UNUSUAL.isdisjoint(headers):
            return None
        return self.polls.sessions.find(token_of(headers), int(now))

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

    def _rest(self) -> None:
        """Close the connection when nothing more comes, as uvicorn does.

        One timer runs on over many requests: to make one for each costs more than to look twice.
        """
        self._idle_since = self.loop.time()
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
        if self.pipeline:  # What came behind an open call is read on after its answer.
            self._began = self.loop.time()
        return self._began + ARRIVAL_S if self._beside or self._is_begun else None

    def connection_lost(self, exc: Exception | None) -> None:
        """The device went away."""
        self._arriving = None
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
