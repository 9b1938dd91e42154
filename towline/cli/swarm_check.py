"""`towline swarm --check-ack-log`: no report that was acknowledged is missing in the store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import typer

from towline.cli.exit_codes import ExitCode
from towline.cli.printing import give
from towline.schemas.problems import Problem
from towline.swarm.ack_log import Acknowledged, read

SHOWN = 10
_STEPS = ("downloading", "installing", "verifying", "completed", "failed", "rolled_back")


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it; reports by their ids, `DEVICE JOURNAL NUMBER`."""

    acknowledged: int
    missing: tuple[str, ...]
    """The store has no such report."""
    untold: tuple[str, ...]
    """Steps and ends that moved nothing: what came too late, unless the store lost it."""


def check(log: Path, place: Path | str, *, as_json: bool) -> None:
    """Look for every report of the log in that file or database; exit 1 when one is missing."""
    found = checked(log, place)
    give(json.dumps(_document(found), indent=2) if as_json else "\n".join(_lines(found)))
    if not found.acknowledged:
        raise Problem(
            f"no line stands in {log}: nothing was acknowledged, so that nothing is proven",
            remedy="name what `towline swarm --ack-log` has written, once devices have reported",
        )
    if found.missing:
        raise typer.Exit(ExitCode.ERROR)


def checked(log: Path, place: Path | str) -> Checked:
    """As `check`; raises Problem when one of the two cannot be read."""
    from towline.reconciler.store import acknowledged  # noqa: PLC0415 heavy
    from towline.reconciler.store.engine import open_existing  # noqa: PLC0415
    from towline.reconciler.store.private_copy import copy_of  # noqa: PLC0415

    reports = list(read(log))
    devices = sorted({(each.organization, each.device) for each in reports})
    runs = sorted({each.deployment for each in reports if each.deployment is not None})
    # A copy of a database leaves events out.
    store = copy_of(place) if isinstance(place, Path) else open_existing(place)
    try:
        with store.read() as connection:
            highest = acknowledged.highest(connection, devices)
            told = set(acknowledged.told_steps(connection, runs))
    finally:
        store.close()
    return Checked(
        acknowledged=len(reports),
        missing=tuple(_id(each) for each in reports if not _is_stored(each, highest)),
        untold=tuple(
            _id(each)
            for each in reports
            if each.state in _STEPS and (each.device, each.deployment, each.state) not in told
        ),
    )


def _is_stored(report: Acknowledged, highest: Mapping[tuple[str, str], tuple[str, int]]) -> bool:
    journal, number = highest.get((report.organization, report.device), ("", 0))
    return journal == report.journal and number >= report.report_seq


def _id(report: Acknowledged) -> str:
    return f"{report.device} {report.journal} {report.report_seq}"


def _document(found: Checked) -> dict[str, object]:
    return {
        "acknowledged": found.acknowledged,
        "missing": list(found.missing),
        "untold": list(found.untold),
    }


def _lines(found: Checked) -> list[str]:
    lines = [f"{found.acknowledged} acknowledged reports, {len(found.missing)} missing"]
    lines += [f"  {each}" for each in islice(found.missing, SHOWN)]
    if found.untold:
        lines.append(f"{len(found.untold)} moved nothing: they came too late to count")
    return lines
