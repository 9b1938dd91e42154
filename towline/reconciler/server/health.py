"""`/healthz`: whether this process can serve, for whatever starts it or sends callers to it."""

from fastapi import APIRouter, Request
from sqlalchemy import literal, select

import towline
from towline.reconciler.server.clock_guard import CODE, ClockGuard
from towline.reconciler.server.desk import AtDesks, Declined
from towline.reconciler.server.front import HEALTH

router = APIRouter()


@router.get(HEALTH)
def healthz(request: Request, desks: AtDesks) -> dict[str, str]:
    """The store answers, and the clock may date what is signed."""
    with desks.store.read() as connection:
        connection.execute(select(literal(1)))
    clock: ClockGuard = request.app.state.clock
    if behind_s := clock.behind_s():
        raise Declined(503, CODE, clock.words(behind_s), behind_s=behind_s)
    return {"status": "ok", "version": towline.__version__}
