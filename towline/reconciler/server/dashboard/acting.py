"""Acts from the dashboard: a page that says what an act will do, then the act itself.

The act is the one of the API; what the state refuses is a page that says what is allowed.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from towline.reconciler import showing
from towline.reconciler.device_acts import DEVICE_VERBS
from towline.reconciler.reopening import GATES
from towline.reconciler.server import admin_acts
from towline.reconciler.server.admin_acts import DeviceVerbRequest, VerbRequest
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.offered import allowed_words, device_offered
from towline.reconciler.server.dashboard.page import page, see_other
from towline.reconciler.server.dashboard.reception import Acting, AtPage, Form, Visitor
from towline.reconciler.server.dashboard.subject import Subject, find_run, find_subject
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.server.sight import sight
from towline.reconciler.store import reading_targets
from towline.reconciler.store.people import Person, Role
from towline.schemas.states import Verb

NAMED_ABOVE = 10
"""A rollback of more devices than this asks for the Deployment's name."""

router = APIRouter(prefix="/deployments/{deployment}")


@router.get("/{verb}")
def confirm(
    request: Request, desk: AtDesk, visitor: AtPage, deployment: str, verb: Verb
) -> Response:
    """What the verb will do to the run, and the form that does it."""
    _operators_only(visitor[0])
    return _confirmation(request, desk, visitor, deployment, verb)


@router.post("/{verb}")
def act(
    request: Request, desk: AtDesk, visitor: Acting, deployment: str, verb: Verb, form: Form
) -> Response:
    """Do it; the run must be in the state that the person saw."""
    person, visit = visitor
    asked = _request(verb, form)
    with desk.store.read() as connection:
        found = find_subject(connection, desk, person, deployment)
        is_large = verb is Verb.ROLLBACK and found.concerned(connection, verb) > NAMED_ABOVE
    name, status = found.shown["name"], found.shown["status"]
    problem = _form_problem(form, name, is_large=is_large)
    if problem:
        return _confirmation(request, desk, visitor, deployment, verb, problem, form)
    if form.get("seen") != status:
        raise _refused(found, f"The run is {status} meanwhile; look again.")
    try:
        done = admin_acts.act(desk, person, found.id, verb, asked)
    except Declined as declined:
        if declined.status != 409:
            raise
        with desk.store.read() as connection:
            found = find_subject(connection, desk, person, found.id)
        raise _refused(found, declined.detail) from None
    did = f": {done['did']}" if done["did"] else ""
    visit.notice = f"{verb} of {name} was done{did}."
    return see_other(f"{PATH}/deployments/{found.id}")


def _operators_only(person: Person) -> None:
    if not person.role.may_act_as(Role.OPERATOR):
        raise Declined(403, "role", f"This needs the role operator; you have {person.role}.")


def _request(verb: Verb, form: dict[str, str]) -> VerbRequest:
    values: dict[str, Any] = {
        "reason": form.get("reason", "").strip(),
        "accept": form.get("accept") == "yes",
        "through_windows": form.get("through_windows") == "yes",
    }
    if form.get("for", "").strip():
        values["for"] = form["for"].strip()
    try:
        asked = VerbRequest(**values)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise Declined(422, "bad-field", f"{first['loc'][-1]}: {first['msg']}") from None
    asked.act(verb)
    return asked


def _form_problem(form: dict[str, str], name: str, *, is_large: bool) -> str:
    if not form.get("reason", "").strip():
        return "Say why: the reason is recorded with your name."
    if is_large and form.get("name", "").strip() != name:
        return f"Type the name of the Deployment, {name}, to send its devices back."
    return ""


def _refused(found: Subject, detail: str) -> Declined:
    words = f"{detail.rstrip('.')}. Allowed now: {allowed_words(found.verbs)}."
    return Declined(409, "not-allowed", words)


def _confirmation(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    deployment: str,
    verb: Verb,
    problem: str = "",
    form: dict[str, str] | None = None,
) -> Response:
    with desk.store.read() as connection:
        found = find_subject(connection, desk, visitor[0], deployment)
        shown = found.shown
        if verb not in found.verbs:
            raise _refused(found, f"{verb} does nothing while the run is {shown['status']}")
        sentences = found.sentences(connection, verb)
        concerned = found.concerned(connection, verb)
    values = {
        "run": shown,
        "verb": verb,
        "sentences": sentences,
        "asks_accept": verb is Verb.RESUME and _is_gated(shown),
        "asks_windows": verb is Verb.APPROVE and shown["isReturn"],
        "asks_name": verb is Verb.ROLLBACK and concerned > NAMED_ABOVE,
        "problem": problem,
        "form": form or {},
    }
    return page(request, "confirm.html", values, visitor=visitor, status=422 if problem else 200)


def _is_gated(shown: Mapping[str, Any]) -> bool:
    return any(hold["reason"] in GATES for hold in shown["holds"])


@router.get("/devices/{device}/{verb}")
def confirm_device(
    request: Request, desk: AtDesk, visitor: AtPage, deployment: str, device: str, verb: Verb
) -> Response:
    """What the verb will do to one device."""
    _operators_only(visitor[0])
    return _device_confirmation(request, desk, visitor, deployment, device, verb)


@router.post("/devices/{device}/{verb}")
def act_on_device(
    request: Request,
    desk: AtDesk,
    visitor: Acting,
    deployment: str,
    device: str,
    verb: Verb,
    form: Form,
) -> Response:
    """Do it."""
    person, visit = visitor
    reason = form.get("reason", "").strip()
    if not reason:
        return _device_confirmation(
            request, desk, visitor, deployment, device, verb, "Say why: it is recorded."
        )
    if len(reason) > 1000:
        raise Declined(422, "bad-field", "reason: at most 1000 characters")
    previous = form.get("previous_version") or None
    asked = DeviceVerbRequest(reason=reason, previous_version=previous and previous[:100])
    done = admin_acts.act_on_device(desk, person, deployment, device, verb, asked)
    visit.notice = f"{done['message']}."
    return see_other(f"{PATH}/deployments/{deployment}")


def _device_confirmation(
    request: Request,
    desk: Desk,
    visitor: Visitor,
    deployment: str,
    device: str,
    verb: Verb,
    problem: str = "",
) -> Response:
    with desk.store.read() as connection:
        run = find_run(connection, visitor[0], deployment)
        shown = showing.summary(connection, run, sight(desk))
        target = reading_targets.target_of(connection, run.seq, device)
    if target is None:
        raise Declined(404, "not-found", f"There is no device {device[:80]} in this run.")
    if verb not in DEVICE_VERBS or verb not in device_offered(target):
        words = ", ".join(device_offered(target)) or "nothing"
        detail = (
            f"{verb} does nothing while the device is {target['status']}. Allowed now: {words}."
        )
        raise Declined(409, "not-allowed", detail)
    values = {"run": shown, "device": target, "verb": verb, "problem": problem}
    status = 422 if problem else 200
    return page(request, "confirm_device.html", values, visitor=visitor, status=status)
