"""A plan from an exported inventory equals the plan from the store that it was exported from."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from tests.reconciler.test_plan import files_of, fleet
from tests.stores import place_of
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.head_reading import read_head
from towline.reconciler.inventory_file import read_inventory, store_of
from towline.reconciler.plan import Change, DeploymentPlan
from towline.reconciler.planning import PlanOptions, make_plan
from towline.reconciler.store import device_tokens
from towline.reconciler.store.device_lists import FleetFilter
from towline.reconciler.store.device_parts import devices_part
from towline.reconciler.store.engine import Store
from towline.reconciler.store.private_copy import copy_of
from towline.schemas.problems import Problem

__all__ = ["fleet"]


def export(fleet: Simulation, path: Path) -> None:
    """As `towline get devices -o json` writes it."""
    with fleet.store.read() as connection:
        seen_after = fleet.now - 3 * POLL_S
        items, *_ = devices_part(connection, ORGANIZATION, FleetFilter(), 1000, seen_after)
    path.write_bytes(
        orjson.dumps({"apiVersion": "towline/v1", "kind": "DeviceList", "items": items})
    )


def head_of(*documents: str) -> Head:
    head = read_head(files_of(*documents), CommitSeen("b" * 40), ORGANIZATION).head
    assert head is not None
    return head


def told(store: Store, base: Head, fleet: Simulation, *documents: str) -> DeploymentPlan:
    read = read_head(files_of(*documents), CommitSeen("f" * 40), ORGANIZATION)
    options = PlanOptions(now=fleet.now, poll_interval_s=POLL_S, source="inventory", names=True)
    (found,) = make_plan(store, base, read, options).deployments
    return found


ROLLING = "  strategy: {type: rolling, batchSize: 30%}\n"


def test_it_names_the_same_batches_and_devices_as_the_store(
    fleet: Simulation, tmp_path: Path
) -> None:
    fleet.enrol("lab-1", "raspberry_pi", stage="lab")
    fleet.devices["till-4"].is_online = False
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    with fleet.store.write() as connection:
        device_tokens.create(connection, ORGANIZATION, "till-3", "Ada", fleet.now)
    export(fleet, tmp_path / "inventory.json")
    base = head_of(manifest("1.0.0"))
    devices = read_inventory(tmp_path / "inventory.json")
    wanted = manifest("2.0.0", ROLLING)
    from_file = told(store_of(devices, ORGANIZATION, base, fleet.now), base, fleet, wanted)
    from_store = told(copy_of(place_of(tmp_path / "towline.db")), base, fleet, wanted)
    assert from_file.batches == from_store.batches
    assert from_file.versions == from_store.versions
    assert from_file.skipped == from_store.skipped
    assert from_file.warnings == from_store.warnings
    assert "NoSignatureCheck" in {each.reason for each in from_file.warnings}
    assert from_file.batches[-1].offline == 1


def test_what_was_in_force_counts_as_done(fleet: Simulation, tmp_path: Path) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    export(fleet, tmp_path / "inventory.json")
    base = head_of(manifest("1.0.0"))
    devices = read_inventory(tmp_path / "inventory.json")
    same = told(store_of(devices, ORGANIZATION, base, fleet.now), base, fleet, manifest("1.0.0"))
    assert same.change is Change.NONE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is no inventory"),
        ('{"kind": "DeviceList"}', "no list of items"),
    ],
)
def test_another_file_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "inventory.json"
    file.write_text(text)
    with pytest.raises(Problem, match=words):
        read_inventory(file)


def test_a_device_that_lacks_a_part_is_named_by_its_place(fleet: Simulation) -> None:
    device: dict[str, Any] = {"id": "x", "organization": ORGANIZATION, "lastSeen": None}
    with pytest.raises(Problem, match="device 1 of the inventory lacks"):
        store_of([device], ORGANIZATION, None, fleet.now)
