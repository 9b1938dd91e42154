"""The shapes of answers about the service: its record, its repository, plans, and who may come."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from towline.reconciler.server.openapi.shapes import Shape, Time, Uuid
from towline.reconciler.store.people import Role


class Happened(Shape):
    """One event; equal repeats in a row are one with a count."""

    id: int
    firstId: int
    at: Time
    lastAt: Time
    count: int
    kind: str
    deployment: str | None
    run: Uuid | None
    device: str | None
    reason: str
    message: str
    cause: str
    commit: str
    data: dict[str, Any]


class EventList(Shape):
    """In order; `next_cursor` leads to those before them."""

    events: list[Happened]
    next_cursor: int | None


class Broken(Shape):
    """A manifest that does not load."""

    name: str
    file: str
    commit: str
    errors: list[Any]


class RepositoryState(Shape):
    """What the server knows of the fleet repository."""

    model_config = ConfigDict(extra="allow")
    organization: str
    url: str
    path: str
    branch: str
    applied_commit: str | None
    applied_at: Time | None
    held_commit: str | None
    hold_reason: str
    last_error: str
    last_fetch_at: Time | None
    deployments: list[str]
    broken: list[Broken]
    warnings: list[str]


class Accepted(Shape):
    """A held commit may be applied."""

    status: Literal["accepted"]
    commit: str


class Joining(Shape):
    """A join string."""

    join: str


class Token(Shape):
    """A person's token without its secret."""

    id: str
    name: str
    role: Role
    labels: dict[str, str]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class TokenList(Shape):
    """All of the organization."""

    tokens: list[Token]


class FreshToken(Shape):
    """A token, shown this once."""

    id: str
    token: str


class Deed(Shape):
    """One act of a person."""

    id: int
    number: int
    at: Time
    person: str
    token: str
    role: str
    action: str
    deployment: str | None
    device: str | None
    device_id: str | None
    object: str
    detail: dict[str, Any]
    result: Literal["done", "refused"]
    request: str
    previous: str
    hash: str


class DeedList(Shape):
    """Newest first."""

    organization: str
    acts: list[Deed]
    next_cursor: int | None


class PlanSummary(Shape):
    """The plan in figures."""

    add: int
    change: int
    remove: int
    unchanged: int
    devices: int
    bytes: int
    skipped: int
    hasErrors: bool
    hasChanges: bool


class PlanDocument(Shape):
    """What a merge would do; docs/plan.md tells what each Deployment has."""

    apiVersion: Literal["towline/v1"]
    kind: Literal["Plan"]
    organization: str
    source: str
    base: str | None
    head: str
    madeAt: Time
    deployments: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    summary: PlanSummary
    recorded: list[str]


class ReplayDocument(Shape):
    """What stood at a time; differences only where all of the record was replayed."""

    at: Time | None
    since: Time | None
    changes: int
    rebuilt: dict[str, int]
    deployments: list[dict[str, Any]]
    olderRuns: int = 0
    differences: int = 0
    firstDifferences: list[str] = Field(default_factory=list)


class Alive(Shape):
    """The server and its store answer."""

    status: Literal["ok"]
    version: str
