"""Walking a run's order finds whom sorting all that fit finds, and looks at nobody else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select, update

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, checksum, manifest
from towline.manifests.model import Deployment
from towline.reconciler import walk
from towline.reconciler.cohort import order_for
from towline.reconciler.scope import choice_of, current_offer, for_offer, groups_by_fit, is_free
from towline.reconciler.store import runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.inventory import intern_version
from towline.reconciler.store.selecting import chosen_devices
from towline.reconciler.walk import next_seen, places_to_walk
from towline.schemas.states import TargetState

DEVICES = 60
BATCH = "  strategy: {type: batches, batches: [{name: first, size: 10%}]}\n"
"""Of 60, less those below: the first batch is of few, and an order of 61 places is walked."""
OWNED = "  filters: {labels: {site: here}}\n"

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    """Some are silent, some are of another site, some run the release already."""
    found = Simulation(tmp_path, devices=0)
    found.stages_at_once = False
    for n in range(1, DEVICES + 1):
        found.enrol(f"till-{n}", site="there" if n % 11 == 0 else "here")
    numbers = [device.seq for device in found.devices.values()]
    with found.store.write() as connection:
        silent = update(t.device_state).values(last_seen=found.now - 10 * POLL_S)
        connection.execute(silent.where(t.device_state.c.device_seq.in_(numbers[::5])))
        there = {
            "component": "app",
            "version_id": intern_version(connection, "app", "1.0.0"),
            "sha256": checksum("1.0.0"),
            "rollback_index": 0,
        }
        rows = [there | {"device_seq": seq} for seq in numbers[::7]]
        connection.execute(insert(t.device_components), rows)
    return found


def walked(fleet: Simulation, limit: int) -> Sequence[int] | None:
    with fleet.store.read() as connection:
        mine = fleet.head.deployments["app"]
        run = runs.newest_run(connection, ORGANIZATION, "app")
        assert run is not None
        offer, _ = current_offer(fleet.head, mine, run)
        assert offer is not None
        choice = choice_of(fleet.head, mine, run.seq, None, fleet.now - 3 * POLL_S)
        return next_seen(connection, mine, offer, run, choice, limit)


def in_order(fleet: Simulation) -> list[int]:
    """All that may be taken and were seen lately, as the sort puts them."""
    with fleet.store.read() as connection:
        mine: Deployment = fleet.head.deployments["app"]
        run = runs.newest_run(connection, ORGANIZATION, "app")
        assert run is not None
        offer, _ = current_offer(fleet.head, mine, run)
        assert offer is not None
        choice = for_offer(
            choice_of(fleet.head, mine, run.seq, None, fleet.now - 3 * POLL_S), mine, offer, run
        )
        groups = groups_by_fit(connection, mine, offer, run, choice)
        wanted = [
            group
            for fits, of_fit in groups.items()
            for group in of_fit
            if fits.value == "fits" and is_free(mine, run, group) and group.is_seen
        ]
        rows = connection.execute(chosen_devices(connection, choice, wanted, None)).all()
        place = order_for(run.revision, DEVICES).position
        return sorted((row.seq for row in rows), key=place)


@pytest.mark.parametrize("limit", [1, 4, 7])
def test_a_walk_finds_whom_a_sort_finds(
    fleet: Simulation, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "WINDOW", 8)
    monkeypatch.setattr(walk, "_CHEAPER", 1)
    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    assert fleet.targets(), "no batch is open"
    everyone = in_order(fleet)
    assert len(everyone) > limit
    assert walked(fleet, limit) == everyone[:limit]


def test_all_are_looked_at_where_a_walk_cannot_tell(
    fleet: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_CHEAPER", 0)
    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    n = len(in_order(fleet))
    assert walked(fleet, n) is not None
    assert walked(fleet, n + 1) is None, "there are not so many"
    one = "  strategy: immediate\n  filters: {devices: [till-2]}\n"
    rival = manifest("1.0.0", one).replace("name: app", "name: rival", 1)
    fleet.commit(manifest("1.0.0", BATCH + OWNED), rival)
    assert walked(fleet, 1) is None, "whom another Deployment owns is told so"
    fleet.commit(manifest("1.0.0", f"{BATCH}{OWNED}  order: name\n"))
    assert walked(fleet, 1) is None, "names are no places"


@pytest.mark.parametrize(
    ("places", "total", "members", "limit", "is_walked"),
    [
        (1_000_003, 1_000_000, 50_000, 1_000, True),
        (1_000_003, 80_000, 0, 1_000, True),
        (1_000_003, 20_000, 0, 1_000, False),
        (1_000_003, 1_000_000, 400_000, 1_000, False),
        (101, 0, 0, 1, False),
        (101, 50, 50, 1, False),
    ],
)
def test_a_walk_is_for_many_that_fit(
    places: int, total: int, members: int, limit: int, is_walked: bool
) -> None:
    assert (places_to_walk(places, total, members, limit) is not None) is is_walked


def test_a_batch_is_filled_up_without_a_look_at_all(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    before = set(fleet.targets())
    following = in_order(fleet)[:1]
    with fleet.store.write() as connection:
        (first, *_) = connection.execute(select(t.targets.c.device_seq)).scalars()
        excuse = update(t.device_state).where(t.device_state.c.device_seq == first)
        connection.execute(excuse.values(last_seen=fleet.now - 10 * POLL_S))
        connection.execute(update(t.targets).values(created_at=fleet.now - 10 * POLL_S))
        connection.execute(update(t.runs).values(heard_since=None))  # that was another life
    with statements(fleet) as asked:
        fleet.pass_over_all()
    names = {device.name for device in fleet.devices.values() if device.seq in following}
    states = fleet.targets()
    assert set(states) - before == names
    assert all(states[name] == TargetState.PENDING for name in names)
    assert not [each for each in asked if "GROUP BY" in each and "AS key" in each.replace('"', "")]


@contextmanager
def statements(fleet: Simulation) -> Iterator[list[str]]:
    asked: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(fleet.store.engine, "before_cursor_execute", note)
    yield asked
    event.remove(fleet.store.engine, "before_cursor_execute", note)
