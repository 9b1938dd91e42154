"""A rehearsal against the real run of the same manifest, and what it leaves alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from tests.reconciler.simulation import (
    ORGANIZATION,
    POLL_S,
    PlayedDevice,
    Simulation,
    manifest,
)
from tests.soaking import is_soaking
from tests.stores import place_of
from towline.reconciler.head import Head
from towline.reconciler.obedient import Obedient
from towline.reconciler.rehearsal import Rehearsal
from towline.reconciler.store import tables as t
from towline.reconciler.store.private_copy import copy_of

STEPS = """  strategy: {type: rolling, batchSize: 30%}
"""
OWN_BATCHES = """  strategy: {type: batches, batches: [
    {name: lab, filters: {labels: {stage: lab}}, size: 100%, soak: 10m},
    {name: early, size: 40%}]}
  maxConcurrent: 2
"""
NAMED = "  strategy: {type: manual}\n  filters: {devices: [till-3, lab-1]}\n"


RARER = [
    "  strategy: immediate\n",
    "  order: name\n  soak: 1h\n  strategy: {type: canary, percentage: 15}\n",
]
"""Tried by `make soak`."""


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    fleet = Simulation(tmp_path, devices=9)
    event.listen(fleet.store.engine, "connect", _without_fsync)
    fleet.store.engine.dispose()
    for n in range(2):
        fleet.enrol(f"lab-{n}", stage="lab")
    return fleet


def _without_fsync(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def rehearse(fleet: Simulation, *documents: str, folder: Path) -> Rehearsal:
    """Rehearse what a commit of these manifests would do; the fleet itself is left alone."""
    return Rehearsal(
        copy_of(place_of(folder / "towline.db")),
        head_of(fleet, *documents),
        Obedient(),
        now=fleet.now,
        poll_interval_s=POLL_S,
    )


def head_of(fleet: Simulation, *documents: str) -> Head:
    before, fleet.settle = fleet.head, lambda: None  # type: ignore[method-assign]
    fleet.commit(*documents)
    wanted, fleet.head = fleet.head, before
    del fleet.settle
    return wanted


def members(connection: Connection, name: str = "app") -> Mapping[int, set[str]]:
    """The devices of each batch of the newest run."""
    newest = (
        select(t.runs.c.seq)
        .where(t.runs.c.organization == ORGANIZATION, t.runs.c.deployment == name)
        .order_by(t.runs.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(t.targets.c.batch, t.edge_devices.c.slug)
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .where(t.targets.c.run_seq == newest)
    )
    found: dict[int, set[str]] = {}
    for batch, slug in rows:
        found.setdefault(batch, set()).add(slug)
    return found


def rehearsed(rehearsal: Rehearsal, name: str = "app") -> Mapping[int, set[str]]:
    rehearsal.play([name])
    with rehearsal.store.read() as connection:
        return members(connection, name)


def owned(fleet: Simulation, name: str = "app") -> list[PlayedDevice]:
    """The devices of the Deployment in force: all, unless it names some."""
    named = fleet.head.deployments[name].ownership.devices or fleet.devices
    return [fleet.devices[name] for name in named]


def really(fleet: Simulation, name: str = "app") -> Mapping[int, set[str]]:
    with fleet.store.read() as connection:
        return members(connection, name)


@pytest.mark.parametrize(
    "more",
    ["  strategy: canary\n", STEPS, OWN_BATCHES, NAMED, *RARER * is_soaking()],
)
def test_it_agrees_with_the_real_run_on_batches_and_members(
    fleet: Simulation, tmp_path: Path, more: str
) -> None:
    fleet.devices["till-5"].is_online = False
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    before = rehearsed(rehearse(fleet, manifest("2.0.0", more), folder=tmp_path))
    fleet.commit(manifest("2.0.0", more))
    devices = owned(fleet)
    online = [device for device in devices if device.is_online]
    for _ in range(120):
        fleet.step()
        if all(device.installed["app"].version == "2.0.0" for device in online):
            break
    fleet.step(5)
    # A run that owns till-5 waits for that one alone.
    assert fleet.run().status == ("completed" if online == devices else "in_progress")
    assert before == really(fleet)
    assert set().union(*before.values()) == {device.name for device in devices}
