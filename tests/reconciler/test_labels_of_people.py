"""A label that a person changes moves a device in and out of a rollout, without a commit."""

from pathlib import Path

from tests.reconciler.looking import AT_ONCE
from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.store import labels

LAB = AT_ONCE + "  filters: {labels: {stage: lab}}\n  maxConcurrent: 1\n"


def label(fleet: Simulation, device: str, **wanted: str) -> bool:
    with fleet.store.write() as connection:
        before = labels.sources_of(connection, ORGANIZATION, device)
        assert before is not None
        return labels.set_from_people(connection, ORGANIZATION, before, wanted)


def test_who_leaves_before_the_grant_is_skipped_and_who_comes_is_served(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for name in ("a", "b", "c"):
        fleet.enrol(name, stage="lab" if name != "c" else "shop")
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", LAB))
    assert fleet.targets() == {"a": "pending", "b": "pending"}
    fleet.pass_over_all()
    assert label(fleet, "a", stage="shop")
    assert label(fleet, "c", stage="lab")
    fleet.settle()
    assert fleet.targets() == {"a": "NoLongerMatches", "b": "pending", "c": "pending"}
    assert not label(fleet, "c", stage="lab"), "nothing that counts has changed"
