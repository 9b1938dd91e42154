"""The API for replays: what stood at a time, rebuilt from the record of changes.

One at a time: a replay holds every target that there ever was.
"""

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Query

from towline.reconciler.replaying import replay_store
from towline.reconciler.server.desk import Declined
from towline.reconciler.server.receiving import AtDesk, Viewer
from towline.schemas import times

router = APIRouter(prefix="/api/v1/admin/ota/replay")
_replaying = threading.Lock()


@router.get("")
def replay(
    desk: AtDesk,
    person: Viewer,
    at: Annotated[int | None, Query(ge=0, le=times.LATEST)] = None,
    deployment: str | None = None,
) -> dict[str, Any]:
    """All of the record, compared with what is stored; with `at`, in seconds since the epoch, up to
    that time. 503 while another replay is made."""
    if not _replaying.acquire(blocking=False):
        raise Declined(503, "busy", "another replay is being made; try again")
    try:
        with desk.store.read() as connection:
            return replay_store(connection, person.organization, at, deployment)
    finally:
        _replaying.release()
