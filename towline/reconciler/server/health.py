"""`/healthz`: whether this process can serve, for whatever starts it or sends callers to it."""

from sqlalchemy import literal, select
from starlette.requests import Request
from starlette.responses import JSONResponse

import towline
from towline.reconciler.server.callers import desks_of
from towline.reconciler.server.clock_guard import CODE, ClockGuard
from towline.reconciler.server.desk import Declined

PATH = "/healthz"


def healthz(request: Request) -> JSONResponse:
    """The store answers, and the clock may date what is signed."""
    with desks_of(request).store.read() as connection:
        connection.execute(select(literal(1)))
    clock: ClockGuard = request.app.state.meters.clock
    if behind_s := clock.behind_s():
        raise Declined(503, CODE, clock.words(behind_s), behind_s=behind_s)
    return JSONResponse({"status": "ok", "version": towline.__version__})
