"""A report on Towline's stack, one insert each: `python -m bench.twins.inserts FILE DEVICES`.

Raw ASGI, and a thread that writes; each report has a commit of its own. It keeps the report and
does nothing else: no target moves, no version is compared.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from bench.session import digest, session_of
from bench.twins.reports import KEEP, opened
from bench.twins.serving import serve
from towline.reconciler.server import wire
from towline.reconciler.server.wire import Answer, Receive, Scope, Send


class Inserts:
    """The twin."""

    def __init__(self, file: Path, devices: int) -> None:
        self._database = opened(file)
        self._writer = ThreadPoolExecutor(1)
        self._sessions = {digest(session_of(seq)): seq for seq in range(1, devices + 1)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One report."""
        report = orjson.loads(await wire.read_body(receive, wire.DEVICE_BODY_LIMIT))
        token = wire.headers_of(scope)["authorization"].removeprefix("Bearer ")
        device = self._sessions[digest(token)]
        await asyncio.get_running_loop().run_in_executor(self._writer, self._keep, device, report)
        await Answer(204).send(send)

    def _keep(self, device: int, report: dict[str, Any]) -> None:
        told = [orjson.dumps(report[part]).decode() for part in ("facts", "versions")]
        self._database.execute(KEEP, (device, report["journal"], report["reportSeq"], *told))
        self._database.commit()


if __name__ == "__main__":
    serve(Inserts(Path(sys.argv[1]), int(sys.argv[2])))
