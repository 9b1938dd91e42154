"""The pages of Deployments: the list of runs, and one run with its batches and devices."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator
from sqlalchemy import Connection, Row

from towline.reconciler import showing, ways_out
from towline.reconciler.gate_words import gate_words
from towline.reconciler.server.dashboard.offered import QUICK, device_offered, offered
from towline.reconciler.server.dashboard.page import PATH, page
from towline.reconciler.server.dashboard.reception import AtPage
from towline.reconciler.server.desk import AtDesk, Declined
from towline.reconciler.server.sight import sight
from towline.reconciler.store import (
    reading,
    reading_devices,
    reading_events,
    reading_explain,
    reading_fleet,
    reading_targets,
    targets,
)
from towline.reconciler.store.people import Person
from towline.reconciler.store.reading import DevicesShown, Page
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.store.reading_targets import FAILING, TargetFilter
from towline.reconciler.verdict import tally
from towline.schemas.fields import MOST
from towline.schemas.states import LIVE_RUNS, RunState, TargetState, Verb

PAGE_SIZE = 20
DEVICES_SHOWN = 50
FAILING_SHOWN = 20
EVENTS_SHOWN = 15
EMPTY_IS_NONE = BeforeValidator(lambda text: text or None)
"""What a form sends for "all"."""

router = APIRouter()


@router.get("")
def show_list(
    request: Request,
    desk: AtDesk,
    visitor: AtPage,
    status: Annotated[RunState | None, EMPTY_IS_NONE] = None,
    number: Annotated[int, Query(alias="page", ge=1, le=1_000_000)] = 1,
) -> Response:
    """Runs, newest first, by status."""
    organization = visitor[0].organization
    with desk.store.read() as connection:
        runs, total = showing.deployments(
            connection, organization, Page(number, PAGE_SIZE), sight(desk), status=status
        )
        newest = reading_targets.newest_run_ids(connection, organization, {r["name"] for r in runs})
        values = {
            "runs": [_listed(run, is_newest=run["id"] in newest) for run in runs],
            "status": status,
            "statuses": list(RunState),
            "counts": reading_fleet.run_counts(connection, organization),
            "pages": Page(number, PAGE_SIZE).document(total),
            "repository": reading_devices.repository(connection, organization),
            "is_live": any(run["status"] in LIVE_RUNS for run in runs),
        }
    return page(request, "deployments.html", values, visitor=visitor)


def _listed(run: dict[str, Any], *, is_newest: bool) -> dict[str, Any]:
    quick = [verb for verb in offered(run | {"progress": {}}) if verb in QUICK]
    return run | {"quick": quick if is_newest else []}


@router.get("/deployments/{deployment}")
def show_deployment(
    request: Request,
    desk: AtDesk,
    visitor: AtPage,
    deployment: str,
    state: Annotated[TargetState | None, EMPTY_IS_NONE] = None,
    begins: Annotated[str, Query(max_length=63)] = "",
    after: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> Response:
    """One run."""
    wanted = TargetFilter((state,) if state else (), begins.strip(), after)
    with desk.store.read() as connection:
        run = find_run(connection, visitor[0], deployment)
        shown = showing.deployment(connection, run, sight(desk), DevicesShown.NONE)
        values = {
            "run": shown,
            "controls": controls(connection, run, shown),
            "state": state,
            "states": list(TargetState),
            "begins": begins,
            **_told(connection, run, shown),
            **_devices(connection, run, wanted),
        }
    return page(request, "deployment.html", values, visitor=visitor)


def find_run(connection: Connection, person: Person, deployment: str) -> Row[Any]:
    """The run of that UUID or the newest of that name; raises Declined, also for others' runs."""
    run = reading.find_run(connection, person.organization, deployment)
    if run is None:
        raise Declined(404, "not-found", f"There is no deployment {deployment[:80]}.")
    return run


def is_newest(connection: Connection, run: Row[Any]) -> bool:
    """False when a newer run of the Deployment took its place."""
    newest = reading.find_run(connection, run.organization, run.deployment)
    return newest is not None and newest.seq == run.seq


def controls(connection: Connection, run: Row[Any], shown: Mapping[str, Any]) -> list[Verb]:
    """The verbs that can do something to the run now."""
    return offered(shown) if is_newest(connection, run) else []


def _told(connection: Connection, run: Row[Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    groups = targets.groups_by_batch(connection, run.seq)
    wanted = EventFilter(deployment=run.deployment, is_important=True)
    events = reading_events.events(connection, run.organization, wanted, EVENTS_SHOWN)
    way_out = ways_out.of_run(run.reason, run.deployment)
    return {
        "is_newest": is_newest(connection, run),
        "is_live": run.status in LIVE_RUNS,
        "subject": reading_explain.subject_of(connection, run),
        "batches": [
            batch
            | {
                "gate": gate_words(
                    tally(groups.get(batch["number"], ())), batch["successThreshold"]
                )
            }
            for batch in shown["batches"]
        ],
        "way_out": way_out if not shown["holds"] and run.status in LIVE_RUNS else "",
        "events": events[::-1],
    }


def _devices(connection: Connection, run: Row[Any], wanted: TargetFilter) -> dict[str, Any]:
    failing, more = reading_targets.targets_part(
        connection, run.seq, TargetFilter(FAILING), FAILING_SHOWN
    )
    devices, onward = reading_targets.targets_part(connection, run.seq, wanted, DEVICES_SHOWN)
    query = {
        "state": wanted.states[0].value if wanted.states else "",
        "begins": wanted.begins_with,
    }
    return {
        "failing": [_failing(each, run) for each in failing],
        "has_more_failing": more is not None,
        "devices": [each | {"acts": device_offered(each)} for each in devices],
        "first_part": f"?{urlencode(query)}#devices" if wanted.after else "",
        "next_part": f"?{urlencode(query | {'after': onward})}#devices" if onward else "",
        "run_path": f"{PATH}/deployments/{run.id}",
    }


def _failing(device: dict[str, Any], run: Row[Any]) -> dict[str, Any]:
    meaning, way_out = ways_out.of_target(device["reason"], run.deployment, device["device_id"])
    return device | {"meaning": meaning, "way_out": way_out, "acts": device_offered(device)}
