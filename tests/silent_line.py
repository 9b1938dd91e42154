"""A line to a database that may fall silent: nothing is passed on any more, and nothing is closed.

Whoever sends gets it acknowledged by the kernel on this side, as by a proxy that hangs, so that TCP
itself notices nothing.
"""

import selectors
import socket
import threading
from contextlib import suppress

from sqlalchemy import URL, make_url

_PIECE = 1 << 16


class Line:
    """Passes on what is sent to its port, in a thread of its own, until `close`."""

    def __init__(self, database: str) -> None:
        """`database`: the URL of what lies behind it."""
        self._behind = make_url(database)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changing = threading.Lock()
        self._others: dict[socket.socket, socket.socket] = {}
        """The other end of each."""
        self._lost: set[socket.socket] = set()
        self._is_silent = self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        """The database, by this line."""
        host, port = self._listener.getsockname()
        query = {key: value for key, value in self._behind.query.items() if key != "host"}
        at = self._behind.set(host=host, port=port, query=query)
        return at.render_as_string(hide_password=False)

    def fall_silent(self) -> None:
        """Pass nothing on, and let nobody in."""
        self._is_silent = True

    def go_on(self) -> None:
        """Pass on what was sent meanwhile, and all that follows."""
        self._is_silent = False

    def lose_all(self) -> None:
        """Never again pass anything on of the connections that there are; others are no worse."""
        with self._changing:
            self._lost |= set(self._others)

    def close(self) -> None:
        """End, with all connections."""
        self._is_over = True
        self._thread.join()
        for each in (self._listener, *self._others):
            each.close()

    def _run(self) -> None:
        while not self._is_over:
            if self._is_silent:
                threading.Event().wait(0.02)
                continue
            with selectors.DefaultSelector() as heard:
                with self._changing:
                    for each in (self._listener, *(self._others.keys() - self._lost)):
                        heard.register(each, selectors.EVENT_READ)
                for key, _ in heard.select(0.02):
                    if not self._is_silent:
                        self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _pass_on(self, end: socket.socket) -> None:
        with self._changing:
            if end is self._listener:
                near, far = self._listener.accept()[0], _reach(self._behind)
                self._others |= {near: far, far: near}
                return
            if end in self._lost or (other := self._others.get(end)) is None:
                return
            piece = b""
            with suppress(OSError):
                if piece := end.recv(_PIECE):
                    other.sendall(piece)
            if not piece:
                for each in (end, other):
                    self._others.pop(each)
                    each.close()


def _reach(database: URL) -> socket.socket:
    host = database.host or str(database.query["host"])
    if not host.startswith("/"):
        return socket.create_connection((host, database.port or 5432))
    reached = socket.socket(socket.AF_UNIX)
    reached.connect(f"{host}/.s.PGSQL.{database.port or 5432}")
    return reached
