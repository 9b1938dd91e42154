"""The rows: what each measures, and which of the asked sizes it depends on."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import ingest, mixed, pages, parked, passes, polls, reports, swarm, verify
from bench.figures import Measured

_OF_LOAD = ("repeats", "seconds", "connections")


@dataclass(frozen=True, slots=True)
class Row:
    """One of the bench's."""

    measure: Callable[[argparse.Namespace], Measured]
    depends_on: tuple[str, ...] = ()
    """Names of sizes: runs that differ in others can be compared."""

    figures: tuple[str, ...] = ()
    """Keys of all that it may find."""

    def sizes(self, asked: argparse.Namespace) -> dict[str, Any]:
        """How much of it is asked for."""
        given = vars(asked) | {"few": asked.devices[0], "many": asked.devices[1]}
        return {name: given[name] for name in self.depends_on}


def attempted(row: Row, asked: argparse.Namespace) -> tuple[Measured, BaseException | None]:
    """What a row found, and the error that it ended by; what this machine lacks is none."""
    try:
        return row.measure(asked), None
    except pytest.skip.Exception as lacking:
        why, error = f"left out: {lacking}", None
    except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 the other rows go on
        why, error = f"failed: {type(failure).__name__}: {failure}", failure
    return Measured({}, [why], left_out=dict.fromkeys(row.figures, why)), error


def _size(asked: argparse.Namespace) -> polls.Size:
    return polls.Size(asked.repeats, asked.seconds, asked.connections)


def _kills(runs: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        missing = swarm.kills(Path(folder), runs)
    return Measured({"kills-missing": missing}, [f"{runs} kills: {missing} reports missing"])


def _both(*figures: str) -> tuple[str, ...]:
    """On SQLite and on Postgres."""
    return (*figures, *(f"{each}-postgres" for each in figures))


ROWS: Mapping[str, Row] = {
    "polls": Row(
        lambda asked: polls.measure(_size(asked)),
        _OF_LOAD,
        ("poll-fastapi", "poll-nginx", "poll-statements"),
    ),
    "reports": Row(
        lambda asked: reports.measure(_size(asked)),
        _OF_LOAD,
        ("reports-inserts", "reports-fastapi", "reports-postgres"),
    ),
    "ingest": Row(lambda asked: ingest.measure(asked.ingested), ("ingested",), _both("ingest")),
    "mixed": Row(
        lambda asked: mixed.measure(_size(asked), asked.documents),
        (*_OF_LOAD, "documents"),
        _both(*mixed.KEYS),
    ),
    "parked": Row(
        lambda asked: parked.measure(asked.parked, asked.repeats),
        ("parked", "repeats"),
        ("parked-memory", "server-idle", "server-parked", "parked-woken"),
    ),
    "kills": Row(lambda asked: _kills(asked.kills), ("kills",), ("kills-missing",)),
    "rollout": Row(
        lambda asked: swarm.measure(asked.swarm), ("swarm",), ("rollout", "rollout-errors")
    ),
    "pages": Row(
        lambda asked: pages.measure(asked.devices[1], asked.calls, "postgres"),
        ("many", "calls"),
        ("pages-page", "pages-filter", "pages-search"),
    ),
    "passes": Row(
        lambda asked: passes.measure(*asked.devices),
        ("few", "many"),
        _both(*passes.FIGURES),
    ),
    "verify": Row(lambda _: verify.measure(), (), ("verify",)),
}
