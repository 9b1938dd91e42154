"""The pages of Deployments: the list of runs, and one run with its batches and devices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator
from sqlalchemy import Connection, Row

from towline.reconciler import live_figures, unmerged, ways_out
from towline.reconciler.gate_words import gate_words
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.chart import chart
from towline.reconciler.server.dashboard.chart import rows as chart_rows
from towline.reconciler.server.dashboard.failures import failure
from towline.reconciler.server.dashboard.offered import (
    QUICK,
    device_offered,
    offered,
    unmerged_offered,
)
from towline.reconciler.server.dashboard.page import page
from towline.reconciler.server.dashboard.provenance import provenance
from towline.reconciler.server.dashboard.reception import AtPage, Visitor
from towline.reconciler.server.dashboard.subject import Subject, find_subject, is_newest
from towline.reconciler.server.desk import wall_clock
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.server.sight import sight
from towline.reconciler.store import (
    arm_versions,
    reading_devices,
    reading_events,
    reading_explain,
    reading_fleet,
    reading_targets,
    targets,
)
from towline.reconciler.store.reading import Page
from towline.reconciler.store.reading_batches import when
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.store.reading_pace import Moment
from towline.reconciler.store.reading_targets import FAILING, TargetFilter
from towline.reconciler.verdict import tally
from towline.schemas.fields import MOST
from towline.schemas.states import LIVE_RUNS, RunState, TargetState

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
    """What waits for its merge, then runs, newest first, by status."""
    organization = visitor[0].organization
    with desk.store.read() as connection:
        here = sight(desk)
        runs, total = unmerged.deployments(
            connection, organization, Page(number, PAGE_SIZE), here, status=status
        )
        waiting = Counter(unmerged.counts(connection, organization, here.now))
        newest = reading_targets.newest_run_ids(connection, organization, {r["name"] for r in runs})
        values = {
            "runs": [_listed(run, is_newest=run["id"] in newest) for run in runs],
            "status": status,
            "statuses": list(RunState),
            "counts": waiting + Counter(reading_fleet.run_counts(connection, organization)),
            "pages": Page(number, PAGE_SIZE).document(total),
            "repository": reading_devices.repository(connection, organization),
            "is_live": any(run["status"] in LIVE_RUNS for run in runs),
            "shape": live_figures.fleet_shape(connection, organization),
        }
    return page(request, "deployments.html", values, visitor=visitor)


def _listed(run: dict[str, Any], *, is_newest: bool) -> dict[str, Any]:
    is_waiting = "branch" in run
    verbs = unmerged_offered(run) if is_waiting else offered(run) if is_newest else []
    return run | {
        "quick": [verb for verb in verbs if verb in QUICK],
        "is_waiting": is_waiting,
        "compare": run.get("compare", ""),
    }


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
        found = find_subject(connection, desk, visitor[0], deployment)
        if found.run is None:
            return _show_unmerged(request, visitor, found)
        shown, run = found.shown, found.run
        values = {
            "run": shown,
            "shape": live_figures.run_figures(connection, run)["shape"],
            "controls": found.verbs,
            "state": state,
            "states": list(TargetState),
            "begins": begins,
            **_told(connection, run, shown),
            **_pace(
                request.app.state.paces.of_run(connection, run, wall_clock()),
                shown["progress"]["total_devices"],
            ),
            **provenance(connection, desk, desk.manifest_texts, run),
            **_devices(connection, run, wanted),
        }
    return page(request, "deployment.html", values, visitor=visitor)


def _show_unmerged(request: Request, visitor: Visitor, found: Subject) -> Response:
    """One that git does not want yet."""
    values = {"run": found.shown, "controls": found.verbs}
    return page(request, "unmerged.html", values, visitor=visitor)


def _told(connection: Connection, run: Row[Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    groups = targets.groups_by_batch(connection, run.seq)
    wanted = EventFilter(deployment=run.deployment, is_important=True)
    events = reading_events.events(connection, run.organization, wanted, EVENTS_SHOWN)
    way_out = ways_out.of_run(run.reason, run.deployment)
    return {
        "is_newest": is_newest(connection, run),
        "arms": _arms(connection, run, shown["arms"]),
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


def _arms(
    connection: Connection, run: Row[Any], arms: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The sides of an experiment with what each delivers and how many of its verdicts passed."""
    versions = arm_versions.versions_of(connection, [run.seq]) if arms else {}
    found = []
    for arm in arms:
        passed = arm["counts"].get(TargetState.COMPLETED, 0)
        verdicts = passed + sum(arm["counts"].get(state, 0) for state in FAILING)
        version = versions.get((run.seq, arm["arm"]), run.target_version)
        found.append({**arm, "version": version, "passed": passed, "verdicts": verdicts})
    return found


def _pace(moments: Sequence[Moment], total: int) -> dict[str, Any]:
    """The chart and its table."""
    shown = [{"at": when(each.at), "moment": each} for each in chart_rows(moments)]
    return {"chart": chart(moments, total), "chart_rows": shown, "total": total}


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
    return device | {
        "meaning": meaning,
        "way_out": way_out,
        "acts": device_offered(device),
        "failure": failure(device["reason"], device["error_message"] or ""),
    }
