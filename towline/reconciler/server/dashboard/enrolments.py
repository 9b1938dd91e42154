"""The page of keys that wait to be admitted: a person compares the fingerprint and decides."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from towline.reconciler.server import admin_enrolment
from towline.reconciler.server.admin_enrolment import FINGERPRINT, KeyDecision
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.page import page, see_other
from towline.reconciler.server.dashboard.reception import Administering, AtPage, Form, Visitor
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.store import admissions
from towline.reconciler.store.people import Role

router = APIRouter(prefix="/enrolments")

Fingerprint = Annotated[str, Path(pattern=FINGERPRINT)]


@router.get("")
def show_enrolments(request: Request, desk: AtDesk, visitor: AtPage) -> Response:
    """Everything that waits, oldest first."""
    with desk.store.read() as connection:
        found = admissions.waiting(connection, visitor[0].organization, wall_clock())
    return page(request, "enrolments.html", {"waiting": found}, visitor=visitor)


@router.get("/{device}/{fingerprint}")
def confirm(
    request: Request, desk: AtDesk, visitor: AtPage, device: str, fingerprint: Fingerprint
) -> Response:
    """What an approval means, with the fingerprint to compare, and the forms that decide."""
    if not visitor[0].role.may_act_as(Role.ADMIN):
        raise Declined(403, "role", f"This needs the role admin; you have {visitor[0].role}.")
    return _confirmation(request, desk, visitor, device, fingerprint)


@router.post("/{device}/{fingerprint}/approve")
def approve(
    request: Request,
    desk: AtDesk,
    visitor: Administering,
    device: str,
    fingerprint: Fingerprint,
    form: Form,
) -> Response:
    """Admit the key; whoever approves says that they compared it."""
    person, visit = visitor
    if form.get("compared") != "yes":
        words = "Compare the fingerprint with the one that the device shows, and say so."
        return _confirmation(request, desk, visitor, device, fingerprint, words)
    done = admin_enrolment.approve_device(desk, person, device, _decision(fingerprint, form))
    what = "has its new key" if done["key_changed"] else "is admitted"
    visit.notice = f"{device} {what}."
    return see_other(f"{PATH}/enrolments")


@router.post("/{device}/{fingerprint}/deny")
def deny(
    desk: AtDesk, visitor: Administering, device: str, fingerprint: Fingerprint, form: Form
) -> Response:
    """Drop the key."""
    person, visit = visitor
    admin_enrolment.deny_device(desk, person, device, _decision(fingerprint, form))
    visit.notice = f"{device} waits no longer with that key."
    return see_other(f"{PATH}/enrolments")


def _decision(fingerprint: str, form: dict[str, str]) -> KeyDecision:
    reason = form.get("reason", "").strip()
    if len(reason) > 1000:
        raise Declined(422, "bad-field", "reason: at most 1000 characters")
    return KeyDecision(fingerprint=fingerprint, reason=reason)


def _confirmation(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    device: str,
    fingerprint: str,
    problem: str = "",
) -> Response:
    with desk.store.read() as connection:
        waiting = admissions.waiting(connection, visitor[0].organization, wall_clock())
    asked = (device, fingerprint.lower())
    found = [each for each in waiting if (each["device_id"], each["fingerprint"]) == asked]
    if not found:
        raise Declined(404, "not-found", "That key waits no longer; look at the list again.")
    values: dict[str, Any] = {"asked": found[0], "problem": problem}
    status = 422 if problem else 200
    return page(request, "enrolment.html", values, visitor=visitor, status=status)
