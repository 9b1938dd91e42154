"""The page of the fleet repository: its last commits, what became of each, holds and errors."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from towline.manifests.policy import repository_policy
from towline.manifests.repository import Commit
from towline.reconciler.commit_fates import fates
from towline.reconciler.commits import is_git_stale
from towline.reconciler.lengths import about
from towline.reconciler.server import admin
from towline.reconciler.server.admin import AcceptRequest
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.page import page, see_other
from towline.reconciler.server.dashboard.reception import (
    Administering,
    AtPage,
    Form,
    Visitor,
)
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.store import reading_commits, reading_devices
from towline.reconciler.store.people import Role
from towline.reconciler.store.reading_batches import when
from towline.schemas import times
from towline.schemas.problems import Problem

COMMITS_SHOWN = 30
router = APIRouter(prefix="/git")


@router.get("")
def show_git(request: Request, desk: AtDesk, visitor: AtPage) -> Response:
    """The branch that is followed."""
    organization = visitor[0].organization
    commits, problem = _commits(desk, organization)
    with desk.store.read() as connection:
        repository = reading_devices.repository(connection, organization)
        values = {
            "repository": repository,
            "problem": problem,
            "commits": _told(connection, organization, repository or {}, commits),
            "stale": _stale(desk, organization, repository or {}),
        }
    return page(request, "git.html", values, visitor=visitor)


def _commits(desk: Desk, organization: str) -> tuple[list[Commit], str]:
    """The last ones of the branch; of the commit in force where the branch cannot be read now."""
    head = desk.head()
    if desk.repository is None or (head is not None and head.organization != organization):
        return [], ""
    try:
        return _history(desk, desk.repository.head()), ""
    except Problem as problem:
        try:
            return _history(desk, head.commit.sha if head else None), str(problem)
        except Problem:
            return [], str(problem)


def _history(desk: Desk, sha: str | None) -> list[Commit]:
    assert desk.repository is not None
    return desk.repository.history(sha, COMMITS_SHOWN) if sha else []


def _told(
    connection: Connection,
    organization: str,
    repository: dict[str, Any],
    commits: list[Commit],
) -> list[dict[str, Any]]:
    shas = [each.sha for each in commits]
    known = reading_commits.known(connection, organization, shas)
    in_force, held = repository.get("applied_commit"), repository.get("held_commit")
    return [
        {
            "commit": commit,
            "at": when(commit.time),
            "fate": fate,
            "known": known[commit.sha],
            "applied_at": when(known[commit.sha].applied_at),
        }
        for commit, fate in zip(commits, fates(shas, known, in_force, held), strict=True)
    ]


def _stale(desk: Desk, organization: str, repository: dict[str, Any]) -> str:
    """How long ago git was read last, where that is longer than the Policy wants to be silent."""
    head, last = desk.head(), repository.get("last_fetch_at")
    if head is None or head.organization != organization or last is None:
        return ""
    policy, now, seen = repository_policy(head.policies), wall_clock(), times.from_rfc3339(last)
    if not is_git_stale(seen, policy.stale_git_alert_s, now):
        return ""
    words = f"The branch was read last {about(now - seen)} ago"
    if is_git_stale(seen, policy.stale_git_hold_s, now):
        return f"{words}: every rollout is held until git is back."
    return f"{words}; after {about(policy.stale_git_hold_s)} every rollout is held."


@router.get("/accept")
def confirm(request: Request, desk: AtDesk, visitor: AtPage) -> Response:
    """What letting the held commit through means, and the form that does it."""
    if not visitor[0].role.may_act_as(Role.ADMIN):
        raise Declined(403, "role", f"This needs the role admin; you have {visitor[0].role}.")
    return _confirmation(request, desk, visitor)


@router.post("/accept")
def accept(request: Request, desk: AtDesk, visitor: Administering, form: Form) -> Response:
    """Let it through."""
    person, visit = visitor
    reason = form.get("reason", "").strip()
    if not reason or len(reason) > 1000:
        words = "Say why, in at most 1000 characters: it is recorded with your name."
        return _confirmation(request, desk, visitor, words)
    held = _held(desk, person.organization)
    if form.get("commit") != held["held_commit"]:
        raise Declined(409, "not-allowed", "Another commit is held meanwhile; look again.")
    admin.accept_commit(desk, person, AcceptRequest(commit=held["held_commit"], reason=reason))
    visit.notice = f"Commit {held['held_commit'][:12]} is let through."
    return see_other(f"{PATH}/git")


def _confirmation(request: Request, desk: Desk, visitor: Visitor, problem: str = "") -> Response:
    values = {"repository": _held(desk, visitor[0].organization), "problem": problem}
    status = 422 if problem else 200
    return page(request, "accept.html", values, visitor=visitor, status=status)


def _held(desk: Desk, organization: str) -> dict[str, Any]:
    with desk.store.read() as connection:
        found = reading_devices.repository(connection, organization)
    if found is None or not found["held_commit"]:
        raise Declined(409, "not-allowed", "No commit is held.")
    return found
