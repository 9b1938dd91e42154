"""The API for acts: the verbs on a run, and on one device of it.

An act that the state does not allow is 409 and says what is allowed instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    model_validator,
)
from sqlalchemy import Connection, Row

from towline.manifests.shape_words import DURATION_PATTERN, seconds_above_zero
from towline.reconciler import acts, device_acts, showing, standing, unmerged, ways_out
from towline.reconciler.consequences import COUNTED, consequences
from towline.reconciler.head import Head
from towline.reconciler.server import admin_unmerged
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.etags import GuardedStore, IfMatch, demand, etag_of
from towline.reconciler.server.receiving import AtDesk, DeviceOperator, Operator
from towline.reconciler.server.sight import sight
from towline.reconciler.store import reading, reading_devices, runs
from towline.reconciler.store.approvals import approvals_of
from towline.reconciler.store.people import Person
from towline.reconciler.store.reading_acts import standings
from towline.schemas.states import Verb

PAUSE_LIMIT_S = 366 * 86400
_DURATION = WithJsonSchema({"type": "string", "pattern": f"^{DURATION_PATTERN}$"})

router = APIRouter(prefix="/deployments")


class VerbRequest(BaseModel):
    """Why a person does something to a run, and how."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=1000)
    accept: StrictBool = False
    """resume only: set the verdicts of a failed gate aside."""
    pause_s: StrictInt | None = Field(default=None, ge=1, le=PAUSE_LIMIT_S)
    """pause only: it ends by itself after so many seconds."""
    pause_for: Annotated[int, BeforeValidator(seconds_above_zero), _DURATION] | None = Field(
        default=None, alias="for", le=PAUSE_LIMIT_S
    )
    """The same as manifests write it: `4h`."""
    through_windows: StrictBool = False
    """approve only: a return need not wait for its devices' windows."""
    beside_holds: StrictBool = False
    """pause only: also where other holds stand, and over a run that is over and still heals."""

    @model_validator(mode="after")
    def _one_length(self) -> "VerbRequest":
        if self.pause_s is not None and self.pause_for is not None:
            raise ValueError("give pause_s or for, not both")
        return self

    def act(self, verb: Verb) -> acts.Act:
        """What is asked; raises Declined for an option that the verb does not have."""
        pause_s = self.pause_for if self.pause_s is None else self.pause_s
        for option, is_given, its_verb in (
            ("accept", self.accept, Verb.RESUME),
            ("for", pause_s is not None, Verb.PAUSE),
            ("through_windows", self.through_windows, Verb.APPROVE),
            ("beside_holds", self.beside_holds, Verb.PAUSE),
        ):
            if is_given and verb is not its_verb:
                raise Declined(422, "bad-field", f"{option} is an option of {its_verb}, not {verb}")
        return acts.Act(verb, self.accept, pause_s, self.through_windows, self.beside_holds)


class DeviceVerbRequest(BaseModel):
    """Why a person does something to one device."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=1000)
    previous_version: str | None = Field(default=None, max_length=100)
    """rollback only: the version that the device must have come from."""


@router.post("/{deployment}/{verb}")
def act_on_deployment(
    desk: AtDesk,
    person: Operator,
    deployment: str,
    verb: Verb,
    response: Response,
    body: VerbRequest | None = None,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Carry out a verb on a run: its state then, and in counts what became of its devices."""
    answer = act(desk, person, deployment, verb, body, if_match)
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, answer["deployment_id"])
        if run is not None:
            response.headers["ETag"] = etag_of(standing.of_run(connection, run))
    return answer


def act(
    desk: Desk,
    person: Person,
    deployment: str,
    verb: Verb,
    body: VerbRequest | None = None,
    if_match: str | None = None,
) -> dict[str, Any]:
    """As the call does; raises Declined."""
    asked = (body or VerbRequest()).act(verb)
    reason = body.reason if body else ""
    run = _find_run(desk, person, deployment)
    if run is None:
        return admin_unmerged.act(desk, person, deployment, asked, reason, if_match)
    with desk.store.read() as connection:
        fates = consequences(verb, standings(connection, run.seq))
    did = str(fates) if verb in COUNTED else ""
    with (
        desk.doing(
            person,
            f"deployment.{verb}",
            deployment=run.deployment,
            on=str(run.id),
            reason=reason,
            did=did,
            **asked.options(),
        ) as store,
        _declining(deployment),
    ):
        acts.act(
            GuardedStore(store, partial(_demand_run, run, if_match)),
            person.organization,
            run.id,
            asked,
            author=person.name,
            reason=reason,
            now=wall_clock(),
        )
    if verb is Verb.APPROVE:
        did = _approved(desk, run)
    return _after(desk, person, run) | {"did": did, "devices": fates.document()}


def _approved(desk: Desk, run: Row[Any]) -> str:
    """Who agreed to a start; the message is still the one before it until the next pass."""
    with desk.store.read() as connection:
        people = approvals_of(connection, run.seq, wall_clock()).start
    return f"approved so far by {', '.join(sorted(people))}" if people else ""


def _demand_run(run: Row[Any], if_match: str | None, connection: Connection) -> None:
    now = reading.find_run(connection, run.organization, str(run.id))
    if now is not None:
        demand(if_match, etag_of(standing.of_run(connection, now)))


def _after(desk: Desk, person: Person, run: Row[Any]) -> dict[str, Any]:
    with desk.store.read() as connection:
        after = reading.find_run(connection, person.organization, str(run.id))
        assert after is not None
        shown = showing.summary(connection, after, sight(desk))
    return {key: shown[key] for key in ("deployment_id", "status", "reason", "message", "holds")}


@router.post("/{deployment}/devices/{device}/{verb}")
def act_on_device(
    desk: AtDesk,
    person: DeviceOperator,
    deployment: str,
    device: str,
    verb: Verb,
    body: DeviceVerbRequest | None = None,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Name one device of strategy manual, send it back and pin it, or try it again.

    `If-Match` is the device's ETag.
    """
    asked = body or DeviceVerbRequest()
    run = _find_run(desk, person, deployment)
    if run is None:
        raise _refuse_unmerged(desk, person, deployment, verb)
    slug = desk.slug_of(device, person)
    with (
        desk.doing(
            person,
            f"device.{verb}",
            deployment=run.deployment,
            device=slug,
            on=str(run.id),
            reason=asked.reason,
            previous_version=asked.previous_version,
        ) as store,
        _declining(deployment),
    ):
        look = partial(_demand_device, desk, person.organization, slug, if_match)
        device_acts.act_on_device(
            GuardedStore(store, look),
            person.organization,
            run.id,
            slug,
            verb,
            author=person.name,
            reason=asked.reason,
            now=wall_clock(),
            previous_version=asked.previous_version,
            head=_head_of(desk, person),
        )
    message = _DONE[verb].format(slug=slug, run=run) + _waits_for(desk, run, verb)
    return {"status": "success", "message": message}


def _head_of(desk: Desk, person: Person) -> Head | None:
    head = desk.head()
    return head if head is not None and head.organization == person.organization else None


def _waits_for(desk: Desk, run: Row[Any], verb: Verb) -> str:
    """A device that is tried again is granted nothing while its run is held."""
    if verb is Verb.ROLLBACK:
        return ""
    with desk.store.read() as connection:
        held = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    ways = [f"{hold.reason}: {ways_out.of_hold(hold.reason, run.deployment)}" for hold in held]
    return f"; it waits while the run is held by {'; '.join(ways)}" if ways else ""


def _demand_device(
    desk: Desk, organization: str, slug: str, if_match: str | None, connection: Connection
) -> None:
    seen_after = desk.seen_after()
    found = reading_devices.device(connection, organization, slug, seen_after=seen_after)
    if found is not None:
        demand(if_match, etag_of(standing.of_device(found)))


_DONE = {
    Verb.START: "{slug} is named for {run.deployment} and gets {run.target_version} in its turn",
    Verb.ROLLBACK: "{slug} goes back from {run.target_version} and is pinned there until the next"
    " revision; `towline retry {run.deployment} --device {slug}` lifts the pin",
    Verb.RETRY: "{slug} tries {run.target_version} again in its turn",
}


def _find_run(desk: Desk, person: Person, deployment: str) -> Row[Any] | None:
    with desk.store.read() as connection:
        return reading.find_run(connection, person.organization, deployment)


def _refuse_unmerged(desk: Desk, person: Person, deployment: str, verb: Verb) -> Declined:
    with desk.store.read() as connection:
        row = admin_unmerged.find(connection, person, deployment)
    words = f"{verb} of one device is not allowed: {unmerged.waits_for(row)}; allowed: its merge"
    return Declined(409, "waiting-for-merge", words, compare=row.compare)


@contextmanager
def _declining(deployment: str) -> Iterator[None]:
    try:
        yield
    except acts.NotAllowed as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
    except acts.Unknown:
        raise Declined(404, "not-found", f"there is no deployment {deployment[:80]}") from None
