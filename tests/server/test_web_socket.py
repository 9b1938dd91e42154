"""How a web socket ends with its server."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from towline.reconciler.server.service import _web_socket

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = b"\x88\x80\0\0\0\0"
"""A client's, without a code (RFC 6455, 5.5.1)."""


class Open(asyncio.Transport):
    """A transport that is not closed yet, whoever closes it."""

    closed = 0

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def is_closing(self) -> bool:
        """Not yet."""
        return False

    def close(self) -> None:
        """Count it."""
        self.closed += 1


async def _accept(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def test_a_server_ends_also_where_the_other_side_is_ending_a_web_socket() -> None:
    async def story() -> int:
        config, transport = uvicorn.Config(_accept), Open()
        config.load()
        connection: Any = _web_socket(config=config, server_state=ServerState(), app_state={})
        connection.connection_made(transport)
        connection.data_received(REQUEST)
        await asyncio.sleep(0.05)
        assert connection.handshake_complete
        connection.data_received(CLOSE)
        closed = transport.closed
        connection.shutdown()
        return transport.closed - closed

    assert asyncio.run(story()) == 1
