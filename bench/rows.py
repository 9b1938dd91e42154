"""The rows: what each measures, and which of the asked sizes it depends on."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ingest, mixed, pages, parked, passes, polls, reports, swarm, verify
from bench.figures import Measured

_OF_LOAD = ("repeats", "seconds", "connections")


@dataclass(frozen=True, slots=True)
class Row:
    """One of the bench's."""

    measure: Callable[[argparse.Namespace], Measured]
    depends_on: tuple[str, ...] = ()
    """Names of sizes: runs that differ in others can be compared."""

    def sizes(self, asked: argparse.Namespace) -> dict[str, Any]:
        """How much of it is asked for."""
        given = vars(asked) | {"few": asked.devices[0], "many": asked.devices[1]}
        return {name: given[name] for name in self.depends_on}


def _size(asked: argparse.Namespace) -> polls.Size:
    return polls.Size(asked.repeats, asked.seconds, asked.connections)


def _kills(runs: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        missing = swarm.kills(Path(folder), runs)
    return Measured({"kills-missing": missing}, [f"{runs} kills: {missing} reports missing"])


ROWS: Mapping[str, Row] = {
    "polls": Row(lambda asked: polls.measure(_size(asked)), _OF_LOAD),
    "reports": Row(lambda asked: reports.measure(_size(asked)), _OF_LOAD),
    "ingest": Row(lambda asked: ingest.measure(asked.ingested), ("ingested",)),
    "mixed": Row(
        lambda asked: mixed.measure(_size(asked), asked.documents), (*_OF_LOAD, "documents")
    ),
    "parked": Row(lambda asked: parked.measure(asked.parked, asked.repeats), ("parked", "repeats")),
    "kills": Row(lambda asked: _kills(asked.kills), ("kills",)),
    "rollout": Row(lambda asked: swarm.measure(asked.swarm), ("swarm",)),
    "pages": Row(
        lambda asked: pages.measure(asked.devices[1], asked.calls, "postgres"), ("many", "calls")
    ),
    "passes": Row(lambda asked: passes.measure(*asked.devices), ("few", "many")),
    "verify": Row(lambda _: verify.measure()),
}
