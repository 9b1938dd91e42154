"""Who calls: recognised by their token, served at their organization's desk, held to their role."""

import time
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.desk import Declined, Desk, Desks
from towline.reconciler.server.request_ids import request_id
from towline.reconciler.store.people import Person, Role

FAILURES_AT_ONCE, FAILURES_PER_S = 20, 20 / 3600
"""Wrong tokens that are answered as such, for each address that they come from."""


def failures() -> Buckets:
    """Where wrong tokens are counted; of all applications of a server together."""
    return Buckets(FAILURES_AT_ONCE, FAILURES_PER_S)


def receive_callers(app: Starlette, desks: Desks, counted: Buckets) -> None:
    """Let an application serve whoever calls at these desks."""
    app.state.desks = desks
    app.state.failures = counted


def desks_of(connection: HTTPConnection) -> Desks:
    """The application's desks."""
    desks: Desks = connection.app.state.desks
    return desks


def remember(connection: HTTPConnection, person: Person) -> Person:
    """Whoever asks was recognised: they are served at the desk of their organization."""
    found = replace(person, request=request_id(connection))
    connection.state.person = found
    return found


def person_of(connection: HTTPConnection) -> Person:
    """Whoever asks, by their token unless they were recognised otherwise; raises Declined."""
    if not hasattr(connection.state, "person"):
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        person = desks_of(connection).recognise(token) if scheme == "Bearer" else None
        if person is None and token:
            refuse_too_many_failures(connection)
            raise Declined(401, "token", "this admin token is unknown, expired or revoked")
        if person is None:
            raise Declined(401, "token", "an admin token is needed: Authorization: Bearer TOKEN")
        remember(connection, person)
    found: Person = connection.state.person
    return found


def refuse_too_many_failures(connection: HTTPConnection) -> None:
    """Somebody could not say who they are; raises Declined when that came too often from there.

    Whoever has a token is let in all the same: others at the same address lock nobody out.
    """
    counted: Buckets = connection.app.state.failures
    source = connection.client.host if connection.client else ""
    if wait_s := counted.take(source, time.monotonic()):
        words = f"too many wrong tokens came from {source}: come again in {wait_s} s"
        raise Declined(429, "too-many-failures", words, retry_after_s=wait_s)


def desk_of(connection: HTTPConnection) -> Desk:
    """The desk of the organization of whoever asks; raises Declined."""
    return desks_of(connection).of(person_of(connection).organization)


@dataclass(frozen=True, slots=True)
class Needs:
    """A call's demand for a role; what it finds is the person.

    Whose token is limited to some devices is refused, unless the call says that it keeps to them.
    """

    role: Role
    keeps_to_devices: bool = False
    """It shows and changes nothing but devices with the labels of whoever asks."""

    def __call__(self, connection: HTTPConnection) -> Person:
        """Raises Declined for who lacks it."""
        person = person_of(connection)
        if not person.role.may_act_as(self.role):
            words = f"this needs the role {self.role}; the token has {person.role}"
            raise Declined(403, "role", words)
        if person.labels and not self.keeps_to_devices:
            raise Declined(403, "labels", beyond(person))
        return person


def beyond(person: Person) -> str:
    """Why somebody is refused whose token is limited to some devices."""
    given = ", ".join(f"{key}={value}" for key, value in sorted(person.labels.items()))
    return f"this reaches beyond the devices with {given}, which the token is limited to"
