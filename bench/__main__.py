"""Towline beside its twins: `python -m bench [ROW…]`, or `make bench` for all rows.

Prints each figure with its floor, its goal and what was found before; keeps everything as JSON.
Exit 1 when a floor is missed.
"""

import argparse
import sys

from rich.console import Console

from bench import history, machine, pages, passes, polls, swarm
from bench.figures import FIGURES, table_of
from bench.rows import ROWS
from towline.reconciler.server import process


def main() -> None:
    """Measure what is asked."""
    asked = _asked()
    process.set_up()  # what is measured in this process is part of a server's
    console = Console(width=120)
    values: dict[str, float] = {}
    known: dict[str, float] = {}
    run = history.Run(history.FOLDER, machine.facts())
    for name in asked.rows or ROWS:
        row = ROWS[name]
        sizes = row.sizes(asked)
        known |= history.before(history.FOLDER, name, sizes)
        found = row.measure(asked)
        values |= found.values
        now = f"load of the machine: {machine.load()}, its pace: {machine.pace()}"
        details = [*found.details, now]
        run.keep(name, {"asked": sizes, "values": found.values, "details": details})
        console.print(f"[bold]{name}[/bold]", *details, sep="\n  ", highlight=False)
    console.print(table_of(values, known))
    console.print(f"kept in {run.file}", soft_wrap=True)
    missed = [each for each in FIGURES if each.key in values and each.misses(values[each.key])]
    sys.exit(1 if missed else 0)


def parser() -> argparse.ArgumentParser:
    """Of what is asked."""
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--seconds", type=float, default=3, help="of load, each time")
    made.add_argument("--connections", type=int, default=polls.CONNECTIONS)
    made.add_argument("--parked", type=int, default=10_000, help="polls that wait")
    made.add_argument("--documents", type=int, default=10_000, help="signed under load")
    made.add_argument("--ingested", type=int, default=1_000_000, help="devices that report")
    made.add_argument("--kills", type=int, default=20, help="of a server under load")
    made.add_argument("--swarm", type=int, default=swarm.DEVICES, help="devices of a rollout")
    made.add_argument(
        "--devices", type=int, nargs=2, default=(100_000, 1_000_000), metavar=("FEW", "MANY")
    )
    made.add_argument("--calls", type=int, default=pages.CALLS, help="of each page and list")
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
