"""The API for the audit: what people did in the organization, newest first."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from towline.reconciler.server.receiving import Administrator, AtDesk
from towline.reconciler.store import reading_audit
from towline.reconciler.store.reading_audit import AuditFilter
from towline.schemas.fields import MOST

router = APIRouter(prefix="/api/v1/admin/ota/audit")

Text = Annotated[str | None, Query(max_length=255)]
Time = Annotated[int | None, Query(ge=0, le=MOST)]


@router.get("")
def list_acts(
    desk: AtDesk,
    person: Administrator,
    who: Annotated[str | None, Query(alias="person", max_length=255)] = None,
    deployment: Text = None,
    device: Text = None,
    action: Text = None,
    since: Time = None,
    until: Time = None,
    cursor: Time = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Acts of people, newest first; `next_cursor` is the `cursor` of older ones.

    `person` is a name or a token's id; `action` may be the part before the dot; `since` and `until`
    are in seconds since the epoch.
    """
    wanted = AuditFilter(who, deployment, device, action, since, until, cursor)
    with desk.store.read() as connection:
        items, before = reading_audit.acts(connection, person.organization, wanted, limit)
    return {"organization": person.organization, "acts": items, "next_cursor": before}
