"""The API for admin tokens: who may come to the desk, until when, and in which role.

A token is shown once, when it is created; each act is an event with its author, and in the audit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from towline.reconciler.server.desk import Declined, wall_clock
from towline.reconciler.server.given_labels import GivenLabels
from towline.reconciler.server.receiving import Administrator, AtDesk
from towline.reconciler.store import audit, people
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.people import Role

LIFE_LIMIT_S = 10 * 366 * 86400
LIMITED_ROLES = (Role.VIEWER, Role.OPERATOR)

router = APIRouter(prefix="/api/v1/admin/ota/tokens")


class TokenRequest(BaseModel):
    """Whom a token is for, and for how long; without a limit until it is revoked."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    role: Role
    expires_in_s: StrictInt | None = Field(default=None, ge=1, le=LIFE_LIMIT_S)
    labels: GivenLabels = Field(default_factory=dict)
    """Only for devices that have all of these; of a viewer or an operator."""


class RevokeRequest(BaseModel):
    """Why a token ends."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=1000)


@router.get("")
def list_tokens(desk: AtDesk, person: Administrator) -> dict[str, Any]:
    """Every token of the organization, oldest first, without its secret."""
    with desk.store.read() as connection:
        return {"tokens": people.list_admin_tokens(connection, person.organization)}


@router.post("", status_code=201)
def create_token(desk: AtDesk, person: Administrator, body: TokenRequest) -> dict[str, Any]:
    """A token; it is shown this once."""
    if not body.name.isprintable() or body.name != body.name.strip():
        raise Declined(422, "bad-field", "name: one line without spaces around it")
    if body.labels and body.role not in LIMITED_ROLES:
        words = f"labels: they are for viewers and operators; {body.role} is for the whole fleet"
        raise Declined(422, "bad-field", words)
    now = wall_clock()
    wanted: dict[str, Any] = {"name": body.name, "role": body.role.value}
    wanted |= {"expires_in_s": body.expires_in_s, "labels": body.labels}
    with desk.doing(person, "token.create", **wanted) as store, store.write() as connection:
        token = people.create_admin_token(
            connection,
            person.organization,
            name=body.name,
            role=body.role,
            now=now,
            expires_at=None if body.expires_in_s is None else now + body.expires_in_s,
            labels=body.labels,
        )
        token_id = token.split("_")[1]
        audit.tell(connection, on=token_id)
        event = Event(
            "token.created",
            message=f"{token_id} ({body.name}), {body.role}",
            cause=f"create by {person.name}",
        )
        record(connection, person.organization, now, event)
    return {"id": token_id, "token": token}


@router.post("/{token_id}/revoke")
def revoke_token(
    desk: AtDesk, person: Administrator, token_id: str, body: RevokeRequest
) -> dict[str, Any]:
    """End a token for good; 409 when it has ended already or nobody could come after it."""
    act = desk.doing(person, "token.revoke", on=token_id, reason=body.reason)
    with act as store, _declining(token_id), store.write() as connection:
        now = wall_clock()
        revoked = people.revoke_admin_token(connection, person.organization, token_id, now)
        event = Event(
            "token.revoked",
            reason=body.reason[:50],
            message=f"{token_id} ({revoked['name']}): {body.reason}",
            cause=f"revoke by {person.name}",
        )
        record(connection, person.organization, now, event)
    return revoked


@contextmanager
def _declining(token_id: str) -> Iterator[None]:
    try:
        yield
    except people.UnknownToken:
        raise Declined(404, "not-found", f"there is no token {token_id[:80]}") from None
    except people.NotRevocable as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
