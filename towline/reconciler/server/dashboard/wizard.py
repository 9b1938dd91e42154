"""The wizard: a manifest in four steps, then a commit, a branch or a file to download.

Every step is a form that carries what was typed before as one hidden text, so that it works without
a script and nothing is kept here. What was typed is judged anew at each step.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from towline.manifests.load import load
from towline.reconciler.creating_place import BadFields, alone
from towline.reconciler.creation_site import Created
from towline.reconciler.draft import FIELDS, Draft, Step, draft_of, step_of
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server.admin_create import begun
from towline.reconciler.server.dashboard import PATH, wizard_views
from towline.reconciler.server.dashboard.page import HEADERS, page, see_other
from towline.reconciler.server.dashboard.reception import Acting, AtPage, Form, Visitor
from towline.reconciler.server.dashboard.wizard_views import Workshop
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.server.making import Means, change, declining, make, site_of
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.store.people import Person, Role
from towline.schemas.problems import Problem

router = APIRouter(prefix="/new")
_STEPS = tuple(Step)
Faults = list[tuple[str, str]]


@router.get("")
def begin(
    request: Request,
    desk: AtDesk,
    visitor: AtPage,
    edit: Annotated[str, Query(max_length=63)] = "",
) -> Response:
    """The first step: blank, or with what a manifest says."""
    person = visitor[0]
    if not person.role.may_act_as(Role.OPERATOR):
        raise Declined(403, "role", f"This needs the role operator; you have {person.role}.")
    shop = _workshop(desk, person, Draft(edits=edit))
    if shop.before is not None:
        shop = shop.of(shop.before)
    return _show(request, visitor, shop, Step.BASICS)


@router.post("/{step}")
def go_on(request: Request, desk: AtDesk, visitor: Acting, step: Step, form: Form) -> Response:
    """What the form of a step sent, and where its button leads."""
    person, _ = visitor
    shop = _workshop(desk, person, _sent(step, form))
    button = form.get("go", "next")
    if button == "back":
        return _show(request, visitor, shop, _STEPS[max(0, _STEPS.index(step) - 1)])
    if step is Step.REVIEW:
        return _finish(request, visitor, shop, button)
    faults = _faults(shop, step)
    if button == "look" and not any(field == "update_package_url" for field, _ in faults):
        shop, faults = _looked(request, shop)
        return _show(request, visitor, shop, step, faults)
    if button == "count":
        # Asked while somebody types: what is wrong so far is no error yet.
        return _show(request, visitor, shop, step, faults, status=200)
    if faults:
        return _show(request, visitor, shop, step, faults)
    return _show(request, visitor, shop, _STEPS[_STEPS.index(step) + 1])


@router.get("/{step}")
def begin_anew(_: AtPage, step: Step) -> Response:
    """A step's address alone says nothing of what was typed before it."""
    return see_other(f"{PATH}/new")


def _sent(step: Step, form: Mapping[str, str]) -> Draft:
    """What was carried, with what the step's form sent; raises Declined."""
    try:
        return Draft.model_validate_json(form.get("draft", "{}")).typed(step, form)
    except ValidationError:
        raise Declined(422, "bad-field", "This form is not of the wizard.") from None


def _workshop(desk: Desk, person: Person, draft: Draft) -> Workshop:
    """With the manifest that is edited, as the newest commit has it; raises Declined."""
    shop = Workshop(desk, site_of(desk, person, desk.store), draft)
    if not draft.edits:
        return shop
    with declining():
        manifest = load(shop.files).deployments.get(draft.edits)
        if manifest is None:
            words = f"There is no manifest {draft.edits[:80]} that loads."
            raise Declined(404, "not-found", words)
        return replace(shop, before=draft_of(manifest))


def _faults(shop: Workshop, step: Step) -> Faults:
    """What is wrong with what this step asks, or was asked before it."""
    try:
        missing = _missing(shop.draft, step)
        if missing:
            return missing
        if shop.before is not None:
            shop.proposal()
        else:
            alone(shop.draft.body(is_whole=False), shop.files)
    except BadFields as bad:
        asked = _STEPS[: _STEPS.index(step) + 1]
        return [
            (field.removeprefix("device_filters."), said)
            for field, said in bad.faults
            if step_of(field) in (None, *asked)
        ]
    except (NotAllowed, Problem):
        # Told at the review; what stands in the way now may be changed by a later step.
        return []
    return []


def _missing(draft: Draft, step: Step) -> Faults:
    needed = {
        Step.BASICS: ("deployment_name", "target_version"),
        Step.TARGETS: ("device_ids",) if draft.rollout_strategy == "manual" else (),
        Step.PACKAGE: ("update_package_url", "checksum"),
    }
    return [(name, "this is needed") for name in needed.get(step, ()) if not getattr(draft, name)]


def _looked(request: Request, shop: Workshop) -> tuple[Workshop, Faults]:
    """With the checksum of what lies at the package's address."""
    found, problem = wizard_views.look(request.app.state.package_look, shop)
    if found is None:
        return shop, [("update_package_url", problem)]
    checksum = f"sha256:{found.sha256}"
    draft = shop.draft.model_copy(update={"checksum": checksum})
    return shop.of(draft, looked=found), []


def _show(
    request: Request,
    visitor: Visitor,
    shop: Workshop,
    step: Step,
    faults: Faults | None = None,
    status: int | None = None,
) -> Response:
    values = {
        "step": step,
        "steps": _STEPS,
        "draft": shop.draft,
        "carried": json.dumps(shop.draft.model_dump(), ensure_ascii=False),
        "faults": _placed(faults or [], step),
        **wizard_views.values(shop, step, visitor[0]),
    }
    code = status or (422 if faults else 200)
    return page(request, f"wizard_{step}.html", values, visitor=visitor, status=code)


def _placed(faults: Faults, step: Step) -> dict[str, str]:
    """By field; what belongs to no field of this step is told above the form."""
    found: dict[str, str] = {}
    for name, said in faults:
        place = name if name in FIELDS[step] else ""
        words = f"{name}: {said}" if name and not place else said
        found[place] = "; ".join(filter(None, (found.get(place), words)))
    return found


def _finish(request: Request, visitor: Visitor, shop: Workshop, button: str) -> Response:
    if button == "download":
        return _download(shop)
    if button not in ("commit", "branch"):
        return _show(request, visitor, shop, Step.REVIEW)
    person, visit = visitor
    means = Means("at the dashboard", on_branch=button == "branch")
    try:
        with shop.desk.writing:
            made = _made(shop, person, means)
    except Declined as declined:
        return _show(request, visitor, shop, Step.REVIEW, [("", declined.detail)])
    if made.compare:
        visit.notice = f"Branch {made.branch} waits for its merge: {made.compare}"
    else:
        visit.notice = f"Commit {made.commit[:12]} is on {made.branch}."
        begun(shop.desk, person.organization, made.id, is_decided=True)
    return see_other(f"{PATH}/deployments/{made.id}")


def _made(shop: Workshop, person: Person, means: Means) -> Created:
    with declining():
        if shop.before is None:
            return make(shop.desk, person, shop.draft.body(), means)
        changes = shop.draft.changes(shop.before)
        return change(shop.desk, person, shop.draft.edits, changes, means)


def _download(shop: Workshop) -> Response:
    with declining():
        proposal = shop.proposal()
    name = proposal.manifest.file.rsplit("/", 1)[-1].replace('"', "")
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(proposal.text, media_type="application/yaml", headers=headers)
