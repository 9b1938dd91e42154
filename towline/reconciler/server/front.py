"""Where each request goes: to the devices' protocol, packages' files, monitoring, or to people."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp

from towline.reconciler.server import device, kept_texts, monitoring, packages, wire
from towline.reconciler.server.device import DeviceProtocol
from towline.reconciler.server.packages import Packages
from towline.reconciler.server.wire import Receive, Scope, Send

_NOT_HERE = wire.problem(
    404, "not-here", "this process only reconciles: ask one with --role api or all"
)


class Closed:
    """Tells of its health and its figures; everything else is asked of another process."""

    def __init__(self, monitored: ASGIApp) -> None:
        self._monitored = monitored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] in monitoring.PATHS:
            await self._monitored(scope, receive, send)
        else:
            await _NOT_HERE.send(send)


class MadeWhenAsked:
    """An application that is made for the first request to it; devices are served meanwhile."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)


class Application:
    """Sends each request where it belongs."""

    def __init__(
        self, protocol: DeviceProtocol, files: Packages, monitored: ASGIApp, people: ASGIApp
    ) -> None:
        self._protocol = protocol
        self._files = files
        self._monitored = monitored
        self._people = people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await self._people(scope, receive, send)
        elif scope["path"].startswith(device.PREFIX):
            await self._protocol(scope, receive, send)
        elif scope["path"].startswith(packages.PREFIX):
            await self._files(scope, receive, send)
        elif scope["path"] in monitoring.PATHS:
            await self._monitored(scope, receive, send)
        else:
            await self._receive_person(scope, receive, send)

    async def _receive_person(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole body is taken in first, so that it is counted whoever reads it."""
        try:
            body = await wire.read_body(receive, wire.PERSON_BODY_LIMIT)
        except wire.Disconnected:
            return
        except wire.TooLarge:
            await wire.too_large(wire.PERSON_BODY_LIMIT).send(send)
            return
        except wire.NoRoom:
            await wire.NO_ROOM.send(send)
            return
        if refused := kept_texts.refusal(scope, body):
            await refused.send(send)
            return
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> wire.Message:
            part = next(parts, None)
            return part if part is not None else await receive()

        await self._people(scope, replay, send)
