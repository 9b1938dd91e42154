"""A swarm at a real server: `python -m bench.swarm rollout [DEVICES]`, `… kills [RUNS]`.

`rollout`: a whole rollout to 10,000 devices, by canary and then the next version by rolling: how
long each takes, what the server and the swarm took of the processor, and every error answer.
`kills`: the server is killed under load, 20 times; after each the log of acknowledged reports is
compared with the store before the server starts again. Exit 1 when something is missing or errs.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.asking import whole
from bench.ending import end_with_cleaning
from bench.figures import COMPLETES_S, Measured
from tests.swarm.served import ServedFleet

DEVICES = 10_000
KILLED_DEVICES = 200
RUNS = 20
LENGTHS = ("--download", "2s", "--install", "2s", "--verify", "2s")


def main() -> None:
    """Play what is asked."""
    asked = parser().parse_args()
    end_with_cleaning()
    with tempfile.TemporaryDirectory() as folder:
        if asked.kind == "kills":
            sys.exit(1 if kills(Path(folder), asked.number) else 0)
        played = rollout(Path(folder), asked.number)
        sys.exit(1 if played.errors or played.missing else 0)


def parser() -> argparse.ArgumentParser:
    """Of what is asked; nothing is played that was not named."""
    formatted = argparse.ArgumentDefaultsHelpFormatter
    made = argparse.ArgumentParser(prog="python -m bench.swarm", description=__doc__)
    kinds = made.add_subparsers(dest="kind", required=True, metavar="rollout|kills")
    for kind, what, name, number in (
        ("rollout", "two versions to a swarm", "DEVICES", DEVICES),
        ("kills", "a server killed again and again", "RUNS", RUNS),
    ):
        part = kinds.add_parser(kind, help=what, description=what, formatter_class=formatted)
        part.add_argument(
            "number", nargs="?", type=whole, default=number, metavar=name, help="how many"
        )
    return made


@dataclass(frozen=True, slots=True)
class Played:
    """What a whole rollout came to."""

    rolled_out_s: float
    """From the first commit until all devices run the second version; enrolment is not in it."""
    errors: int
    acknowledged: int
    missing: int


def measure(devices: int) -> Measured:
    """The row."""
    with tempfile.TemporaryDirectory() as folder:
        played = rollout(Path(folder), devices)
    values = {"rollout": played.rolled_out_s, "rollout-errors": played.errors + played.missing}
    told = (
        f"{devices:,} devices run the second version after {played.rolled_out_s:.0f} s:"
        f" {played.errors} error answers; of {played.acknowledged:,} acknowledged reports"
        f" {played.missing} missing"
    )
    return Measured(values, [told])


def rollout(folder: Path, devices: int) -> Played:
    """One version by canary, and the next by rolling."""
    fleet = ServedFleet(folder, poll_interval_s=300)
    parts = []
    try:
        fleet.serve()
        with _Timed("enrolment", fleet):
            fleet.swarm(devices, "--ack-log", str(fleet.ack_log), *LENGTHS)
            fleet.until(lambda: fleet.devices() == devices, COMPLETES_S, "enrolment")
        for version, strategy in (("1.0.0", "canary"), ("2.0.0", "rolling")):
            with _Timed(strategy, fleet) as part:
                fleet.publish(version, strategy)
                fleet.until(lambda: _is_completed(fleet, version), COMPLETES_S, strategy)  # noqa: B023
            parts.append(part.took_s)
        figures = fleet.end_swarm()
        found = fleet.acknowledged()
    finally:
        fleet.stop()
    _say(json.dumps(figures, indent=1))
    _say(f"{found.acknowledged} acknowledged, {len(found.missing)} missing")
    errors = sum(figures["errors"].values())
    return Played(sum(parts), errors, found.acknowledged, len(found.missing))


def _is_completed(fleet: ServedFleet, version: str) -> bool:
    return fleet.run(version).get("status") == "completed"


class _Timed:
    """Says how long a part took, and how much of it the server was at work."""

    def __init__(self, name: str, fleet: ServedFleet) -> None:
        self._name = name
        self._fleet = fleet
        self.took_s = 0.0

    def __enter__(self) -> "_Timed":
        self._began, self._before = time.monotonic(), self._fleet.server_processor_s
        return self

    def __exit__(self, *_: object) -> None:
        self.took_s = time.monotonic() - self._began
        processor_s = self._fleet.server_processor_s - self._before
        memory = f"{self._fleet.server_memory_mib:.0f} MiB"
        _say(
            f"{self._name}: {self.took_s:.0f} s, server {processor_s:.0f} s of processor, {memory}"
        )


def kills(folder: Path, runs: int) -> int:
    """Versions follow each other while the server is killed again and again.

    How many acknowledged reports are missing.
    """
    fleet = ServedFleet(folder, poll_interval_s=2)
    missing = 0
    try:
        fleet.serve()
        fleet.swarm(KILLED_DEVICES, "--ack-log", str(fleet.ack_log), "--download", "1s",
                    "--install", "1s", "--verify", "1s")  # fmt: skip
        fleet.until(lambda: fleet.devices() == KILLED_DEVICES, COMPLETES_S, "enrolment")
        for number in range(1, runs + 1):
            fleet.publish(f"{number}.0.0", "immediate")
            fleet.until(lambda: _has_begun(fleet, f"{number}.0.0"), COMPLETES_S, "reports")  # noqa: B023
            time.sleep(random.uniform(0.5, 4.0))  # noqa: S311 anywhere in it
            fleet.kill()
            found = fleet.acknowledged()
            missing += len(found.missing)
            _say(f"kill {number}: {found.acknowledged} acknowledged, {len(found.missing)} missing")
            fleet.serve()
        fleet.until(lambda: _is_completed(fleet, f"{runs}.0.0"), COMPLETES_S, "the last version")
        fleet.end_swarm()
    finally:
        fleet.stop()
    _say(f"{runs} kills: {missing} acknowledged reports missing")
    return missing


def _has_begun(fleet: ServedFleet, version: str) -> bool:
    found = fleet.run(version)
    return bool(found) and found["progress"]["pending"] < KILLED_DEVICES


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
