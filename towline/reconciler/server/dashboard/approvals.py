"""The page of what waits for a person, and for whom: approvals, starts, merges, a held commit."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from towline.reconciler import showing, unmerged
from towline.reconciler.permission import is_author
from towline.reconciler.server.dashboard.offered import APPROVABLE
from towline.reconciler.server.dashboard.page import page
from towline.reconciler.server.dashboard.reception import AtPage
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.server.sight import sight
from towline.reconciler.store import merge_requests, reading_devices, reading_waiting
from towline.reconciler.store.people import Person
from towline.schemas.states import RunState

router = APIRouter(prefix="/approvals")


@router.get("")
def show_approvals(request: Request, desk: AtDesk, visitor: AtPage) -> Response:
    """Everything that waits for somebody."""
    person, _ = visitor
    here = sight(desk)
    with desk.store.read() as connection:
        waiting = reading_waiting.runs(connection, person.organization, APPROVABLE)
        shown = showing.summaries(connection, waiting, here)
        merges = [
            unmerged.summary(connection, row, here.now)
            for row in merge_requests.waiting(connection, person.organization)
            if row.status == RunState.PENDING.value
        ]
        repository = reading_devices.repository(connection, person.organization)
    held = repository if repository and repository["held_commit"] else None
    values = {
        "approvals": [_approval(run, person) for run in shown if _held_by(run)],
        "starts": [run for run in shown if run["reason"] == "WaitingForStart"],
        "merges": merges,
        "held": held,
    }
    return page(request, "approvals.html", values, visitor=visitor)


def _held_by(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [hold for hold in run["holds"] if hold["reason"] in APPROVABLE]


def _approval(run: Mapping[str, Any], person: Person) -> dict[str, Any]:
    """What is asked, of whom, and whether the person who looks may give it."""
    holds = _held_by(run)
    of_start = run["started_at"] is None and any(
        hold["reason"] == "WaitingForApproval" for hold in holds
    )
    is_mine = of_start and is_author(person.name, run["author"])
    return {
        "run": run,
        "holds": holds,
        "whom": f"an operator other than {run['author']}" if of_start else "an operator",
        "is_mine": is_mine,
    }
