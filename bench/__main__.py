"""Towline beside its twins: `python -m bench [ROW…]`, or `make bench` for all rows.

Prints each figure with its floor, its goal and what was found before; keeps everything as JSON.
A row that fails is told and the others go on. Exit 1: a floor is missed or a row failed; 3: all
that was measured is held, but something was not measured, or not under its conditions.
"""

import argparse
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial

from rich.console import Console

from bench import history, machine, pages, passes, polls, swarm
from bench.asking import duration, whole
from bench.ending import end_with_cleaning
from bench.figures import Measured, graded, table_of
from bench.rows import ROWS, attempted
from towline.reconciler.server import process


def main() -> None:
    """Measure what is asked."""
    asked = _asked()
    end_with_cleaning()
    process.set_up()  # what is measured in this process is part of a server's
    console = Console(width=120)
    found: dict[str, Measured] = {}
    known: dict[str, float] = {}
    has_failed = False
    run = history.Run(history.FOLDER, machine.facts())
    for name in asked.rows or ROWS:
        row = ROWS[name]
        sizes = row.sizes(asked)
        known |= history.before(history.FOLDER, name, sizes)
        found[name], error = attempted(row, asked)
        if error is not None:
            has_failed = True
            traceback.print_exception(error)
        now = f"load of the machine: {machine.load()}, its pace: {machine.pace()}"
        kept = asdict(found[name]) | {"details": [*found[name].details, now]}
        run.keep(name, {"asked": sizes} | kept)
        console.print(f"[bold]{name}[/bold]", *kept["details"], sep="\n  ", highlight=False)
    console.print(table_of(found, known))
    for what, why in _remarks(found):
        console.print(f"{what}: {why}", highlight=False, soft_wrap=True)
    console.print(f"kept in {run.file}", soft_wrap=True)
    sys.exit(graded(found, has_failed=has_failed))


def _remarks(found: Mapping[str, Measured]) -> Iterator[tuple[str, str]]:
    """What was not measured, or not as it should have been, and why."""
    for row in found.values():
        for why in dict.fromkeys(row.left_out.values()):
            keys = [key for key, each in row.left_out.items() if each == why]
            yield f"not measured ({', '.join(keys)})", why
        for why in dict.fromkeys(row.unmet.values()):
            keys = [key for key, each in row.unmet.items() if each == why]
            yield f"conditions unmet ({', '.join(keys)})", why


def parser() -> argparse.ArgumentParser:
    """Of what is asked."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none")
    size = partial(made.add_argument, type=whole)
    size("--repeats", default=3, help="of each measure under load, and of parked polls")
    made.add_argument("--seconds", type=duration, default=3, help="of load, each time")
    size("--connections", default=polls.CONNECTIONS, help="of the load")
    size("--parked", default=10_000, help="polls that wait")
    size("--documents", default=10_000, help="signed under load")
    size("--ingested", default=1_000_000, help="devices that report")
    size("--kills", default=20, help="of a server under load")
    size("--swarm", default=swarm.DEVICES, help="devices of a rollout")
    size(
        "--devices",
        nargs=2,
        default=(100_000, 1_000_000),
        metavar=("FEW", "MANY"),
        help=f"of passes, {passes.LEAST:,} or more; pages have MANY",
    )
    size("--calls", default=pages.CALLS, help="of each page and list")
    return made


def _asked() -> argparse.Namespace:
    made = parser()
    asked = made.parse_args()
    if unknown := set(asked.rows) - set(ROWS):
        made.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if "passes" in (asked.rows or ROWS) and (problem := passes.refused(*asked.devices)):
        made.error(f"--devices: {problem}")
    return asked


if __name__ == "__main__":
    main()
