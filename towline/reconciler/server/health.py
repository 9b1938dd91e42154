"""`/healthz`: whether this process can serve, for whatever starts it or sends callers to it.

It is answered in time whatever befalls the store, and does not wait for a thread with those who
wait for a store that has fallen silent.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import literal, select
from starlette.requests import Request
from starlette.responses import JSONResponse

import towline
from towline.reconciler.server.clock_guard import CODE, ClockGuard
from towline.reconciler.server.desk import Declined
from towline.reconciler.store.engine import AWAY, Store

PATH = "/healthz"
ANSWER_S = 4.0
"""A store that takes longer to say one number is as good as away."""


class Health:
    """Looks how it is, in a thread of its own: one look for all who ask meanwhile."""

    def __init__(self, store: Store, clock: ClockGuard) -> None:
        self._store = store
        self._clock = clock
        self._in_background = ThreadPoolExecutor(1, "health")
        self._look: asyncio.Future[int | None] | None = None

    async def behind_s(self) -> int | None:
        """How far the clock is behind what is recorded; None where the store cannot be used."""
        if self._look is None or self._look.done():
            loop = asyncio.get_running_loop()
            self._look = loop.run_in_executor(self._in_background, self._asked)
        done, _ = await asyncio.wait([self._look], timeout=ANSWER_S)
        return next(iter(done)).result() if done else None

    def _asked(self) -> int | None:
        try:
            with self._store.read() as connection:
                connection.execute(select(literal(1)))
        except AWAY:
            return None
        return self._clock.behind_s()


async def healthz(request: Request) -> JSONResponse:
    """The store answers, and the clock may date what is signed."""
    state = request.app.state
    health: Health = state.health
    clock: ClockGuard = state.meters.clock
    behind_s = await health.behind_s()
    if behind_s is None:
        raise Declined(503, "store", "the store cannot be used now; try again in a moment")
    if behind_s:
        raise Declined(503, CODE, clock.words(behind_s), behind_s=behind_s)
    return JSONResponse({"status": "ok", "version": towline.__version__})
