"""Somebody who looks: reads the messages of a live view, one after the other."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
from sqlalchemy import update
from websockets.asyncio.client import ClientConnection, connect

from tests.server.conftest import NOW, ORGANIZATION, Running
from towline.reconciler.store import counters
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record

STREAM = "/api/v1/admin/ota/events/stream"
SOCKET = "/api/v1/admin/ota/events/socket"
Message = tuple[int, str, dict[str, Any]]
"""Number, kind and document; a heartbeat before the first figures has none, which reads as -1."""


class Stream:
    """The messages of server-sent events."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.iter_lines()

    def next(self) -> Message:
        """The next message; StopIteration at the end."""
        fields: dict[str, str] = {}
        while True:
            line = next(self.lines)
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                number = int(fields.get("id", -1))
                return number, fields["event"], json.loads(fields["data"])


@contextmanager
def opened(server: Running, last_event: str = "", **query: str) -> Iterator[Stream]:
    """A viewer's stream."""
    headers = server.admin("viewer") | ({"Last-Event-ID": last_event} if last_event else {})
    with server.client.stream("GET", STREAM, params=query, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        yield Stream(answer)


class Socket:
    """The messages of a WebSocket.

    It is read and written by one thread: the library's blocking client reads in a second one, and
    OpenSSL does not allow two threads on one connection.
    """

    def __init__(self, runner: asyncio.Runner, connection: ClientConnection) -> None:
        self._runner = runner
        self._connection = connection

    def next(self) -> Message:
        """The next message; ConnectionClosed at the end."""
        text = self._runner.run(asyncio.wait_for(self._connection.recv(), 10))
        message = json.loads(text)
        return message["id"], message["event"], message["data"]

    def send(self, said: str | bytes) -> None:
        """Say something."""
        self._runner.run(self._connection.send(said))


@contextmanager
def connected(
    server: Running, headers: dict[str, str] | None = None, **query: str
) -> Iterator[Socket]:
    """A viewer's WebSocket, or whose headers are given."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{server.url.replace('https', 'wss')}{SOCKET}?{urlencode(query)}"
    sent = server.admin("viewer") if headers is None else headers
    with asyncio.Runner() as runner:
        connection = runner.run(_connect(url, context, sent))
        try:
            yield Socket(runner, connection)
        finally:
            runner.run(connection.close())


async def _connect(url: str, context: ssl.SSLContext, sent: dict[str, str]) -> ClientConnection:
    return await connect(url, ssl=context, additional_headers=sent, proxy=None)


def move(server: Running, run: int, status: str, kind: str = "run.tuned") -> None:
    """All devices of the run, with an event as every change has one."""
    with server.store.write() as connection:
        connection.execute(update(t.targets).values(status=status))
        counters.recount(connection, run)
        record(connection, ORGANIZATION, NOW, Event(kind, "hello"))


def end_run(server: Running) -> None:
    """All runs complete."""
    with server.store.write() as connection:
        connection.execute(update(t.runs).values(status="completed"))
        record(connection, ORGANIZATION, NOW, Event("run.completed", "hello"))
