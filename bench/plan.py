"""How long a plan takes over many devices: `python bench/plan.py [DEVICES…]`.

Builds a store (5 labels, 6 versions, 85 % online), then measures the parts of a plan of a canary,
process start left out. With `--profile` it says where the time goes.
"""

import argparse
import cProfile
import pstats
import random
import sys
import tempfile
import time
from pathlib import Path

import orjson

from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.head_reading import HeadRead, read_head
from towline.reconciler.inventory_file import read_inventory, store_of
from towline.reconciler.planning import PlanOptions, make_plan
from towline.reconciler.store import inventory_rows, repositories
from towline.reconciler.store.engine import open_store
from towline.reconciler.store.inventory_rows import InventoryComponent, InventoryDevice
from towline.reconciler.store.private_copy import copy_of
from towline.schemas import times
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role, Root
from towline.schemas.statement import Statement, statement_path

ORGANIZATION = "acme"
POLL_S = 300
KEY = PrivateKey.from_raw(b"\1" * 32)
ONE = Role((KEY.public,), 1)
ROOT = Root(1, ORGANIZATION, 4_000_000_000, ONE, ONE, ONE)


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", nargs="*", type=int, default=[100_000])
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--inventory", action="store_true", help="from a file as well")
    wanted = parser.parse_args()
    for number in wanted.devices:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), number, wanted)


class _Watch:
    """Time since the last lap, by the clock and by the processor: other work slows the clock."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> str:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return f"{wall:.2f} s ({cpu:.2f} s of processor)"


def _measure(folder: Path, number: int, wanted: argparse.Namespace) -> None:
    now = int(time.time())
    devices = list(fleet_of(number, now))
    store = _built(folder / "towline.db", devices, now)
    base, read = commit_of("1.5.0"), commit_of("2.0.0")
    start = _Watch()
    copy = copy_of(store)
    copied = start.lap()
    profile = cProfile.Profile()
    if wanted.profile:
        profile.enable()
    plan = make_plan(copy, base.head, read, PlanOptions(now, POLL_S, "store"))
    profile.disable()
    _say(f"{number:,} devices: copy {copied}, plan {start.lap()}")
    (told,) = plan.deployments
    _say(f"  batches {[batch.devices for batch in told.batches]}, ends as {told.ends_as}")
    if wanted.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    if wanted.inventory:
        _measure_inventory(folder, devices, base.head, read, now)


def _measure_inventory(
    folder: Path, devices: list[InventoryDevice], base: Head | None, read: HeadRead, now: int
) -> None:
    file = folder / "inventory.json"
    items = [_document(device, now) for device in devices]
    file.write_bytes(orjson.dumps({"kind": "DeviceList", "items": items}))
    start = _Watch()
    store = store_of(read_inventory(file), ORGANIZATION, base, now)
    loaded = start.lap()
    make_plan(store, base, read, PlanOptions(now, POLL_S, "inventory"))
    _say(f"  inventory file: load {loaded}, plan {start.lap()}")


def fleet_of(number: int, now: int) -> list[InventoryDevice]:
    """The fleet that is measured over."""
    chance = random.Random(1)  # noqa: S311 the same fleet each time
    return [
        InventoryDevice(
            seq=seq,
            slug=f"edge-{seq:07}",
            device_type="generic",
            state="active",
            time_zone=None,
            last_seen=now if chance.random() < 0.85 else now - 86400,
            labels={
                "site": f"s{chance.randrange(200)}",
                "model": f"m{chance.randrange(5)}",
                "env": chance.choice(["prod", "stage", "lab"]),
                "hw": f"h{chance.randrange(4)}",
                "canary": "yes" if chance.random() < 0.001 else "no",
            },
            labels_git={},
            components=(
                InventoryComponent(
                    "app", f"1.{chance.randrange(6)}.0", "aa" * 32, 0, None, None, None
                ),
            ),
        )
        for seq in range(1, number + 1)
    ]


def _document(device: InventoryDevice, now: int) -> dict[str, object]:
    """As the export writes it."""
    return {
        "id": device.slug,
        "organization": ORGANIZATION,
        "deviceType": device.device_type,
        "labels": device.labels,
        "timeZone": None,
        "state": "active",
        "online": device.last_seen == now,
        "lastSeen": times.to_rfc3339(device.last_seen or 0),
        "facts": {},
        "seq": device.seq,
        "components": {
            part.name: {
                "current": part.version,
                "sha256": part.sha256,
                "rollbackIndex": 0,
                "knownBad": None,
                "pin": None,
            }
            for part in device.components
        },
    }


def _built(path: Path, devices: list[InventoryDevice], now: int) -> Path:
    store = open_store(path)
    rows = inventory_rows.Rows(ORGANIZATION, now)
    for device in devices:
        rows.add(device)
    with store.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", now)
        inventory_rows.fill(connection, rows)
    store.close()
    return path


def commit_of(version: str) -> HeadRead:
    checksum = f"{sum(version.encode()) % 251:02x}" * 32
    manifest = f"""apiVersion: towline/v1
kind: Deployment
metadata: {{name: app}}
spec:
  component: app
  targetVersion: "{version}"
  package: {{url: app-{version}.tar.gz, checksum: "sha256:{checksum}"}}
  strategy: canary
  soak: 1h
  filters: {{labels: {{env: [prod, stage, lab]}}}}
"""
    word = Statement(
        organization=ORGANIZATION,
        component="app",
        version=version,
        file_name=f"app-{version}.tar.gz",
        sha256=checksum,
        size=10_000_000,
        unpacked_size=10,
        files=1,
        content_sha256="00" * 32,
        built_at=1_700_000_000,
    )
    path = statement_path("app", version, word.file_name)
    files = {
        "deployments/app.yaml": manifest.encode(),
        path: word.sign(KEY).to_bytes(),
        "trust/root/1.json": ROOT.sign(KEY),
    }
    return read_head(files, CommitSeen("f" * 40), ORGANIZATION)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
