"""Walking a run's order finds whom sorting all that fit finds, and looks at nobody else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection, event, insert, select, update

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, checksum, manifest
from tests.soaking import examples
from towline.manifests.model import Deployment
from towline.reconciler import walk
from towline.reconciler.cohort import order_for
from towline.reconciler.scope import choice_of, current_offer, for_offer, groups_by_fit, is_free
from towline.reconciler.selection import admit
from towline.reconciler.store import counters, runs, walking
from towline.reconciler.store import tables as t
from towline.reconciler.store.causes import because
from towline.reconciler.store.changed_devices import unsettle
from towline.reconciler.store.choice import Affine
from towline.reconciler.store.inventory import intern_version, keep_running
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.store.presence import mark_seen
from towline.reconciler.store.selecting import chosen_devices
from towline.reconciler.walk import next_seen, places_to_walk
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState, Verb

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
        found = next_seen(connection, fleet.head, mine, offer, run, choice, limit)
        return None if found is None else found.devices


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


@pytest.mark.parametrize("seed", range(examples(2)))
def test_a_walk_that_goes_on_finds_whom_a_sort_finds(
    fleet: Simulation, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens meanwhile to devices before the place where the last walk ended."""
    monkeypatch.setattr(walk, "WINDOW", 4)
    monkeypatch.setattr(walk, "_CHEAPER", 0)
    chance = Random(seed)
    fleet.commit(manifest("0.9.0", "  strategy: immediate\n" + OWNED))
    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    walks = places = 0
    for round_ in range(14):
        left = behind(fleet)
        with fleet.store.write() as connection:
            for _ in range(chance.randrange(9)):
                anyone = [device.seq for device in fleet.devices.values()]
                seq = chance.choice(left if left and chance.random() < 0.7 else anyone)
                happen(connection, fleet, seq, chance)
            if round_ % 4 == 3:  # they are all back
                mark_seen(connection, dict.fromkeys(left, fleet.now))
        if round_ % 5 == 0:
            fleet.enrol(f"late-{round_}", site="here")
        limit = chance.choice([1, 1, 2, 3])
        expected, before = in_order(fleet)[:limit], set(fleet.targets())
        if is_walked := len(expected) == limit and walked(fleet, limit) is not None:
            assert walked(fleet, limit) == expected
        fill_up(fleet, limit)
        assert set(fleet.targets()) - before == {name_of(fleet, seq) for seq in expected}
        walks += is_walked
        places = max(places, fleet.run().cursor_pos)
    assert walks > 3
    assert places > 10


def test_a_walk_begins_anew_when_what_it_knows_may_be_wrong(
    fleet: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "WINDOW", 4)
    monkeypatch.setattr(walk, "_CHEAPER", 0)
    begun: list[int] = []
    numbers_at = walking.numbers_at

    def noted(order: Affine, first: int, size: int) -> list[int]:
        begun.append(first)
        return numbers_at(order, first, size)

    monkeypatch.setattr(walking, "numbers_at", noted)

    def starts() -> int:
        begun.clear()
        fill_up(fleet, 1)
        return min(begun)

    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    assert starts() == 0
    for _ in range(4):
        ended = fleet.run().cursor_pos
        assert starts() == ended > 0
    fleet.commit(manifest("1.0.0", BATCH + OWNED))
    assert starts() == 0, "another commit may mean other filters"
    with fleet.store.write() as connection:
        changed = update(t.edge_devices).values(device_type=t.edge_devices.c.device_type)
        connection.execute(changed)
    assert starts() == 0, "more devices changed than were passed by"
    assert starts() > 0
    with fleet.store.write() as connection:
        unsettle(connection, ORGANIZATION)
    assert starts() == 0, "now and then nothing is taken for granted"
    fleet.verb(Verb.CANCEL)
    with fleet.store.read() as connection:
        assert not connection.execute(select(t.passed_over)).all()


def behind(fleet: Simulation) -> list[int]:
    """Devices before the place where the last walk ended that are not in the run."""
    members, run = set(fleet.targets()), fleet.run()
    place = order_for(run.revision, DEVICES).position
    outside = (device.seq for name, device in fleet.devices.items() if name not in members)
    return [seq for seq in outside if place(seq) < run.cursor_pos]


def happen(connection: Connection, fleet: Simulation, seq: int, chance: Random) -> None:
    """Something to a device, as it is written by whoever is told of it."""
    state = update(t.device_state).where(t.device_state.c.device_seq == seq)
    device = update(t.edge_devices).where(t.edge_devices.c.seq == seq)
    members = select(t.targets.c.device_seq).where(t.targets.c.run_seq == fleet.run().seq)
    former = update(t.targets).where(
        t.targets.c.device_seq == seq, t.targets.c.device_seq.not_in(members)
    )
    match chance.randrange(7):
        case 0 | 1:
            connection.execute(state.values(last_seen=fleet.now))
        case 2:
            connection.execute(state.values(last_seen=fleet.now - 10 * POLL_S))
        case 3:
            site = chance.choice(["here", "here", "there"])
            labels = intern_labels(connection, {"site": site})
            connection.execute(device.values(label_set_id=labels))
        case 4:
            connection.execute(device.values(state=chance.choice(["active", "retired"])))
        case 5:
            version = chance.choice(["0.1.0", "1.0.0"])
            keep_running(connection, [(seq, "app", Installed(version, checksum(version)))], 0)
        case 6:
            is_busy = chance.random() < 0.5
            word, at = ("installing", fleet.now) if is_busy else ("failed", None)
            connection.execute(former.values(status=word, granted_at=at))
            first = select(t.runs.c.seq).order_by(t.runs.c.seq).limit(1)
            counters.recount(connection, connection.execute(first).scalar_one())


def fill_up(fleet: Simulation, limit: int) -> None:
    """So many more are to come into the batch."""
    with fleet.store.write() as connection:
        because(connection, "test", fleet.now)
        run = runs.newest_run(connection, ORGANIZATION, "app")
        assert run is not None
        mine, seen_after = fleet.head.deployments["app"], fleet.now - 3 * POLL_S
        admit(
            connection, fleet.head, mine, run, 0, limit,
            now=fleet.now, seen_after=seen_after, only_seen=True,
        )  # fmt: skip


def name_of(fleet: Simulation, seq: int) -> str:
    return next(device.name for device in fleet.devices.values() if device.seq == seq)


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
