"""Connections on which a device's poll is answered without the way through ASGI.

That way costs more than all the rest of an unchanged poll. What is no plain poll goes it as ever:
everything that is not whole in one piece, with something behind it, with a body or an upgrade, of
HTTP/1.0, for a connection that is to be closed, or of a session that is not known here.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from towline.reconciler.server.polls import Polls, Waiting, token_of
from towline.reconciler.server.wire import Answer

PATH = b"/api/v1/ota/desired-state"
_HEAD_END = b"\r\n\r\n"
_UNUSUAL = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})


def connections(polls: Polls) -> type[HttpToolsProtocol]:
    """The class of connections that know these polls, as uvicorn makes them."""
    return type("DeviceConnection", (_DeviceConnection,), {"polls": polls, "__slots__": ()})


class _DeviceConnection(HttpToolsProtocol):
    """One connection, whoever has it."""

    __slots__ = ("_behind", "_closes", "_idle_since", "_idle_timer", "_is_own", "_is_whole", "_own")
    polls: Polls

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._own: Waiting | None = None
        """The poll of this connection that waits."""
        self._behind = b""
        """What came behind it, to be read after its answer."""
        self._is_whole = False
        """What arrived ends with the end of a head, and no other head ends in it."""
        self._is_own = False
        """The message at hand was answered here, or will be."""
        self._closes = False
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Read on, unless a poll waits: answers go out in the order of their requests."""
        self._idle_since = None
        if self._own is not None:
            self._behind += data
            self.flow.pause_reading()
            return
        self._is_whole = 0 <= data.find(_HEAD_END) == len(data) - len(_HEAD_END)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """What uvicorn needs for it is made once it is known to be uvicorn's."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._is_own = False

    def on_headers_complete(self) -> None:
        """Answer a plain poll here; everything else is uvicorn's."""
        is_poll = self._is_whole and self.url.startswith(PATH) and self._is_plain()
        if is_poll and self._take_poll():
            return
        url, headers, is_expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, is_expected
        self.headers += headers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The end of a request."""
        if not self._is_own:
            super().on_message_complete()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
            and (len(self.url) == len(PATH) or self.url[len(PATH)] == ord("?"))
            and b"#" not in self.url
        )

    def _take_poll(self) -> bool:
        """False where something is unusual, or its session is not known and must be looked up."""
        headers, now = dict(self.headers), time.time()
        if not _UNUSUAL.isdisjoint(headers):
            return False
        session = self.polls.sessions.find(token_of(headers), int(now))
        if session is None:
            return False
        self._is_own = True
        self.headers = []
        found = self.polls.judge(session, headers, self.url[len(PATH) + 1 :], now)
        if isinstance(found, Answer):
            self._send(found)
        else:
            self._own = Waiting(self.polls, found, self._told)
        return True

    def _told(self, answer: Answer) -> None:
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
        for name, value in answer.wire_headers():
            content += (name, b": ", value, b"\r\n")
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
        if self._idle_since is None or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(left, self._close_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """The device went away."""
        if self._own is not None:
            self._own.give_up()
            self._own = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: a poll that waits is answered first."""
        if self._own is None:
            super().shutdown()
        else:
            self._closes = True
