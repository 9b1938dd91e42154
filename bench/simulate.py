"""How long one run of a simulated canary takes: `python bench/simulate.py [DEVICES…]`.

Made-up devices in 200 sites, 2 % bad, 5 % offline, maxConcurrent 1000; process start left out.
With `--profile` it says where the time goes.
"""

import argparse
import cProfile
import pstats
import sys
import time
from dataclasses import replace

from bench.plan import ORGANIZATION, POLL_S, commit_of, fleet_of
from towline.reconciler.failure_model import FailureModel
from towline.reconciler.simulate_making import SimulateOptions, make_simulation
from towline.reconciler.store import inventory_rows, repositories
from towline.reconciler.store.engine import Store
from towline.reconciler.store.private_copy import empty_copy

NOW = 1_800_000_000


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", nargs="*", type=int, default=[100_000])
    parser.add_argument("--profile", action="store_true")
    wanted = parser.parse_args()
    for number in wanted.devices:
        _measure(number, is_profiled=wanted.profile)


def _measure(number: int, *, is_profiled: bool) -> None:
    store, head = _store(number), commit_of("2.0.0").head
    assert head is not None
    model = FailureModel(bad_rate=0.02, offline=0.05)
    options = SimulateOptions(NOW, POLL_S, "synthetic", model, runs=1)
    profile = cProfile.Profile()
    wall, cpu = time.perf_counter(), time.process_time()
    if is_profiled:
        profile.enable()
    made = make_simulation(store, None, head, options)
    profile.disable()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    (told,) = made.deployments
    assert told.harmed is not None
    ended = told.endings[0]
    _say(
        f"{number:,} devices: {wall:.1f} s ({cpu:.1f} s of processor), ticks of {made.tick_s} s;"
        f" {ended.status} after {ended.seconds.p50 / 3600:.1f} h, {told.harmed.p50:,} harmed,"
        f" batches {[batch.members.p50 for batch in told.batches]}"
    )
    if is_profiled:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)


def _store(number: int) -> Store:
    store = empty_copy()
    rows = inventory_rows.Rows(ORGANIZATION, NOW)
    for device in fleet_of(number, NOW):
        labels = {"site": device.labels["site"], "env": "prod"}
        rows.add(replace(device, labels=labels, last_seen=NOW))
    with store.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "", "", "", NOW)
        inventory_rows.fill(connection, rows)
    return store


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
