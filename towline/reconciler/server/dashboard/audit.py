"""The page of the audit: who did what, newest first."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from towline.reconciler.server.dashboard.page import page
from towline.reconciler.server.dashboard.reception import AtPage
from towline.reconciler.server.desk import Declined
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.store import reading_audit
from towline.reconciler.store.people import Person, Role
from towline.reconciler.store.reading_audit import AuditFilter
from towline.schemas.fields import MOST

ACTS_SHOWN = 50

router = APIRouter(prefix="/audit")
Text = Annotated[str, Query(max_length=300)]


@router.get("")
def show_audit(
    request: Request,
    desk: AtDesk,
    visitor: AtPage,
    who: Text = "",
    deployment: Text = "",
    device: Text = "",
    action: Text = "",
    before: Annotated[int | None, Query(ge=1, le=MOST)] = None,
) -> Response:
    """Acts of people, those that were refused among them; for admins, as the API's call is."""
    _admins_only(visitor[0])
    asked = {"who": who, "deployment": deployment, "device": device, "action": action}
    wanted = AuditFilter(
        person=who.strip() or None,
        deployment=deployment.strip() or None,
        device=device.strip() or None,
        action=action.strip() or None,
        before=before,
    )
    with desk.store.read() as connection:
        acts, onward = reading_audit.acts(connection, visitor[0].organization, wanted, ACTS_SHOWN)
    values = {
        "asked": asked,
        "acts": acts,
        "is_filtered": any(asked.values()) or before is not None,
        "first_part": f"?{urlencode(asked)}" if before else "",
        "next_part": f"?{urlencode(asked | {'before': onward})}" if onward else "",
    }
    return page(request, "audit.html", values, visitor=visitor)


def _admins_only(person: Person) -> None:
    if not person.role.may_act_as(Role.ADMIN):
        raise Declined(403, "role", f"This needs the role admin; you have {person.role}.")
