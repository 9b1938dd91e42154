"""A TLS server that answers each connection as it is told to, byte by byte."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.agent.certificate import make_certificate

Behaviour = Callable[["Exchange"], None]


class Exchange:
    """One request as the server sees it."""

    def __init__(self, connection: ssl.SSLSocket, head: str) -> None:
        self.connection = connection
        self.line, *lines = head.split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in lines if ": " in line)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: str, **headers: object) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode())

    def garble(self) -> None:
        """Send what is no TLS."""
        socket.socket.send(self.connection, b"\x17\x03\x03\x00\x20" + b"x" * 32)

    def drip(self, data: bytes, pause_s: float) -> None:
        for byte in data:
            self.send(bytes([byte]))
            time.sleep(pause_s)


class Misbehaving:
    """Answers each connection with the next behaviour, the last one again and again."""

    def __init__(self, folder: Path, days: tuple[int, int] = (-1, 30)) -> None:
        self.behaviours: list[Behaviour] = []
        self.requests: list[Exchange] = []
        self._context, self.pin = make_certificate(folder, days)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}/p.tar.gz"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(raw, server_side=True) as connection:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(4096)):
                    return  # it went away without a request; to read on would turn here for ever
                head += more
            exchange = Exchange(connection, head.decode())
            self.requests.append(exchange)
            turn = min(len(self.requests), len(self.behaviours)) - 1
            self.behaviours[turn](exchange)

    def close(self) -> None:
        self._listener.close()
