"""Towline beside its twins: `python -m bench [ROW…]`, or `make bench` for all rows.

Prints each figure with its floor, its goal and what was found before; keeps everything as JSON.
Exit 1 when a floor is missed.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from bench import (
    history,
    ingest,
    machine,
    mixed,
    pages,
    parked,
    passes,
    polls,
    reports,
    swarm,
    verify,
)
from bench.figures import FIGURES, Measured, table_of
from bench.polls import Size
from towline.reconciler.server import process

Row = Callable[[argparse.Namespace], Measured]
ROWS: Mapping[str, Row] = {
    "polls": lambda asked: polls.measure(_size(asked)),
    "reports": lambda asked: reports.measure(_size(asked)),
    "ingest": lambda asked: ingest.measure(asked.ingested),
    "mixed": lambda asked: mixed.measure(_size(asked), asked.documents),
    "parked": lambda asked: parked.measure(asked.parked, asked.repeats),
    "kills": lambda asked: _kills(asked.kills),
    "rollout": lambda asked: swarm.measure(asked.swarm),
    "pages": lambda asked: pages.measure(asked.devices[1], asked.calls, "postgres"),
    "passes": lambda asked: passes.measure(*asked.devices),
    "verify": lambda _: verify.measure(),
}


def main() -> None:
    """Measure what is asked."""
    asked = _asked()
    process.set_up()  # what is measured in this process is part of a server's
    console = Console(width=120)
    values: dict[str, float] = {}
    details: dict[str, list[str]] = {}
    much = {name: value for name, value in vars(asked).items() if name != "rows"}
    facts, known = machine.facts(), history.before(history.FOLDER, much)
    for name in asked.rows or ROWS:
        found = ROWS[name](asked)
        values |= found.values
        now = f"load of the machine: {machine.load()}, its pace: {machine.pace()}"
        details[name] = [*found.details, now]
        console.print(f"[bold]{name}[/bold]", *details[name], sep="\n  ", highlight=False)
    console.print(table_of(values, known))
    kept = {"machine": facts, "asked": much, "values": values, "details": details}
    console.print(f"kept in {history.keep(history.FOLDER, kept)}", soft_wrap=True)
    missed = [each for each in FIGURES if each.key in values and each.misses(values[each.key])]
    sys.exit(1 if missed else 0)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of load, each time")
    parser.add_argument("--connections", type=int, default=polls.CONNECTIONS)
    parser.add_argument("--parked", type=int, default=10_000, help="polls that wait")
    parser.add_argument("--documents", type=int, default=10_000, help="signed under load")
    parser.add_argument("--ingested", type=int, default=1_000_000, help="devices that report")
    parser.add_argument("--kills", type=int, default=20, help="of a server under load")
    parser.add_argument("--swarm", type=int, default=swarm.DEVICES, help="devices of a rollout")
    parser.add_argument(
        "--devices", type=int, nargs=2, default=(100_000, 1_000_000), metavar=("FEW", "MANY")
    )
    parser.add_argument("--calls", type=int, default=pages.CALLS, help="of each page and list")
    asked = parser.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if "passes" in (asked.rows or ROWS) and (problem := passes.refused(*asked.devices)):
        parser.error(f"--devices: {problem}")
    return asked


def _kills(runs: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        missing = swarm.kills(Path(folder), runs)
    return Measured({"kills-missing": missing}, [f"{runs} kills: {missing} reports missing"])


def _size(asked: argparse.Namespace) -> Size:
    return Size(asked.repeats, asked.seconds, asked.connections)


if __name__ == "__main__":
    main()
