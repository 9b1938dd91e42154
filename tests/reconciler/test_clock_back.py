"""The server's clock goes back an hour in the middle of a rollout.

Nothing is granted or told twice, no device runs out of time, no soak is shorter than it should be,
and the story is the one of a clock that went right.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import POLL_S, PlayedDevice, Simulation, manifest
from towline.reconciler.store import tables as t
from towline.schemas.desired_state import ComponentWanted

HOUR_S = 3600
SOAK_S = 3 * POLL_S
SPEC = """  strategy: {type: rolling, batchSize: 50%, minDevices: 1}
  soak: 3m
  maxConcurrent: 1
  deviceTimeout: 10m
"""


class Counting(Simulation):
    """Counts installs, and tells time by a clock that only goes forward."""

    def __init__(self, folder: Path) -> None:
        self.installs: Counter[tuple[str, str]] = Counter()
        folder.mkdir()
        super().__init__(folder, devices=4)

    def install(self, device: PlayedDevice, component: ComponentWanted) -> None:
        self.installs[device.name, component.version] += 1
        super().install(device, component)


@dataclass
class Life:
    """What came of a rollout."""

    targets: dict[str, str]
    installs: Counter[tuple[str, str]]
    story: dict[str | None, list[str]]
    """Kinds of events by device, in the order of their numbers."""
    opened_after: dict[int, int] = field(default_factory=dict)
    """By batch: how many seconds went by until it was open."""


def live(folder: Path, jump_at: int | None) -> Life:
    """Play a rollout to its end; before step `jump_at` the clock goes back."""
    fleet = Counting(folder)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    while fleet.run().status != "completed":
        fleet.step()
    fleet.commit(manifest("2.0.0", SPEC))
    opened: dict[int, int] = {}
    for step in range(2 * HOUR_S // POLL_S):
        if step == jump_at:
            fleet.now -= HOUR_S
        fleet.step()
        assert all(at <= fleet.now for at in last_seen(fleet)), step
        for batch in batches(fleet):
            opened.setdefault(batch, step * POLL_S)
        if fleet.run().status == "completed":
            break
    return Life(dict(fleet.targets()), fleet.installs, story(fleet), opened)


def last_seen(fleet: Simulation) -> list[int]:
    with fleet.store.read() as connection:
        return list(connection.execute(select(t.device_state.c.last_seen)).scalars())


def batches(fleet: Simulation) -> list[int]:
    with fleet.store.read() as connection:
        of_run = t.batches.c.run_seq == fleet.run().seq
        return list(connection.execute(select(t.batches.c.number).where(of_run)).scalars())


def story(fleet: Simulation) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    with fleet.store.read() as connection:
        for event in connection.execute(select(t.events).order_by(t.events.c.id)):
            if not event.kind.startswith("changed."):
                found.setdefault(event.device, []).append(event.kind)
    return found


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """With a clock that goes right."""
    return live(tmp_path_factory.mktemp("right") / "fleet", None)


@pytest.mark.parametrize("jump_at", [0, 2, 5, 8])
def test_a_clock_that_goes_back_changes_nothing_but_the_time(
    tmp_path: Path, right: Life, jump_at: int
) -> None:
    assert len(right.opened_after) == 2
    lived = live(tmp_path / "fleet", jump_at)
    assert lived.targets == right.targets == dict.fromkeys(lived.targets, "completed")
    assert set(lived.installs.values()) == {1}
    assert lived.installs == right.installs
    assert lived.story == right.story
    for batch, at in right.opened_after.items():
        assert at <= lived.opened_after[batch] <= at + HOUR_S + POLL_S
