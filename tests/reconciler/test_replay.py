"""What happened can be rebuilt from its record alone, as of now and as of any time."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import delete, update

from tests.reconciler.simulation import ORGANIZATION, Simulation, checksum, manifest
from tests.soaking import examples
from towline.reconciler.acts import NotAllowed
from towline.reconciler.device_acts import DEVICE_VERBS, act_on_device
from towline.reconciler.replay import Rebuilt, compare, older_runs, replay
from towline.reconciler.replaying import stored_rows
from towline.reconciler.store import changes, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.changes import Change
from towline.schemas.reports import Installed
from towline.schemas.states import Verb

STRATEGIES = ("immediate", "canary", "{type: rolling, batchSize: 50%, minDevices: 1}")
NAMES = st.sampled_from([f"till-{n}" for n in range(1, 6)])


def record_of(fleet: Simulation) -> list[Change]:
    with fleet.store.read() as connection:
        return list(changes.recorded(connection, ORGANIZATION))


def stored(fleet: Simulation) -> Rebuilt:
    with fleet.store.read() as connection:
        return stored_rows(connection, ORGANIZATION)


class RecordedLife(RuleBasedStateMachine):
    """Commits, silences, failures and verbs in any order; the past is asked for at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Simulation(Path(self.folder.name), devices=5)
        self.version = 0
        self.bad: set[str] = set()
        self.past: list[tuple[int, Rebuilt]] = []

    def teardown(self) -> None:
        try:
            record = record_of(self.fleet)
            for at, then in self.past:
                assert compare(replay(record, at), then) == []
        finally:
            self.fleet.store.close()
            self.folder.cleanup()

    def keep_this_second(self) -> None:
        """Nothing more happens in this second: what stands now stood then."""
        self.past.append((self.fleet.now, stored(self.fleet)))
        self.fleet.now += 1

    @initialize(strategy=st.sampled_from(STRATEGIES))
    def first(self, strategy: str) -> None:
        self.ship(strategy)

    @rule(strategy=st.sampled_from(STRATEGIES))
    def ship(self, strategy: str) -> None:
        self.version += 1
        spec = f"  strategy: {strategy}\n  maxConcurrent: 3\n  offline: {{after: 10m}}\n"
        self.fleet.commit(manifest(f"{self.version}.0.0", f"{spec}  deviceTimeout: 15m\n"))
        self.keep_this_second()

    @rule()
    def remove(self) -> None:
        self.fleet.commit()
        self.keep_this_second()

    @rule(times=st.integers(1, 3))
    def live(self, times: int) -> None:
        self.fleet.step(times)
        self.keep_this_second()

    @rule(name=NAMES)
    def change_connection(self, name: str) -> None:
        self.fleet.devices[name].is_online ^= True

    @rule(name=NAMES)
    def change_luck(self, name: str) -> None:
        self.bad ^= {name}
        self.fleet.devices[name].breaks = lambda _version: name in self.bad

    @rule(name=NAMES)
    def lose_what_runs(self, name: str) -> None:
        """A device that shows another version than it completed regressed, or drifted."""
        device = self.fleet.devices[name]
        device.installed.clear()
        self.fleet.report(device)

    @rule(verb=st.sampled_from(Verb), accept=st.booleans())
    def act(self, verb: Verb, accept: bool) -> None:
        if self.fleet.run() is None:
            return
        with suppress(NotAllowed):
            self.fleet.verb(verb, accept=accept)
        self.keep_this_second()

    @rule(name=NAMES, verb=st.sampled_from(DEVICE_VERBS))
    def act_on_one(self, name: str, verb: Verb) -> None:
        run = self.fleet.run()
        if run is None:
            return
        with suppress(NotAllowed):
            act_on_device(
                self.fleet.store,
                ORGANIZATION,
                run.id,
                name,
                verb,
                author="ops",
                reason="because",
                now=self.fleet.now,
            )
        self.fleet.settle()
        self.keep_this_second()

    @rule()
    def sleep_for_a_day(self) -> None:
        self.fleet.now += 24 * 3600
        self.fleet.step()
        self.keep_this_second()

    @invariant()
    def the_record_rebuilds_what_is_stored(self) -> None:
        assert compare(replay(record_of(self.fleet)), stored(self.fleet)) == []


TestRecordedLife = RecordedLife.TestCase
TestRecordedLife.settings = settings(
    max_examples=examples(5),
    stateful_step_count=12,
    # The explanation of a failure takes minutes here and hides it.
    phases=[Phase.reuse, Phase.generate, Phase.shrink],
)


def test_a_life_that_takes_every_way_is_rebuilt(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=6)
    for live in _a_life(fleet):
        live()
        assert compare(replay(record_of(fleet)), stored(fleet)) == []
    kinds = {row.kind for row in record_of(fleet)}
    assert kinds == {changes.RUN, changes.BATCH, changes.HOLD, changes.TARGETS}
    fleet.store.close()


def _a_life(fleet: Simulation) -> Iterator[Callable[[], None]]:
    """Paused, failed, retried, accepted, silent, sent back, drifted, shared, cancelled."""
    yield lambda: fleet.commit(manifest("1.0.0", "  strategy: canary\n"))
    yield lambda: fleet.verb(Verb.PAUSE)
    yield lambda: fleet.verb(Verb.RESUME)
    yield lambda: fleet.step(8)
    assert fleet.run().status == "completed"
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.devices["till-6"].is_online = False
    yield lambda: fleet.commit(
        manifest("2.0.0", "  strategy: immediate\n  offline: {after: 10m}\n")
    )
    yield lambda: fleet.step(3)
    assert fleet.run().status == "paused"
    yield lambda: fleet.verb(Verb.RETRY)
    yield lambda: fleet.step(3)
    yield lambda: fleet.verb(Verb.RESUME, accept=True)
    yield lambda: fleet.step(12)
    assert fleet.targets()["till-6"] == "OfflineDeferred"
    yield lambda: fleet.verb(Verb.RESUME, accept=True)
    fleet.devices["till-6"].is_online = True
    yield lambda: fleet.step(8)
    assert fleet.run().status == "completed"
    drifted = fleet.devices["till-2"]
    drifted.installed["app"] = Installed("1.0.0", checksum("1.0.0"))
    yield lambda: fleet.report(drifted)
    fleet.now += 24 * 3600
    yield lambda: fleet.step(4)
    assert fleet.targets()["till-2"] == "completed"
    yield lambda: fleet.verb(Verb.ROLLBACK)
    yield lambda: fleet.step(8)
    fleet.devices["till-4"].breaks = lambda version: version == "4.0.0"
    fleet.devices["till-6"].is_online = False
    spec = "  strategy: immediate\n  offline: {after: 10m}\n"
    yield lambda: fleet.commit(manifest("3.0.0"), manifest("4.0.0", spec, name="app2"))
    yield lambda: fleet.step(14)
    assert fleet.targets("app2")["till-6"] == "Superseded"
    yield lambda: fleet.commit(manifest("3.0.0"), manifest("5.0.0", name="app2"))
    yield lambda: fleet.verb(Verb.CANCEL, "app2")
    yield lambda: fleet.step(2)


def test_lists_of_many_devices_are_cut_and_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "DEVICES_PER_EVENT", 2)
    fleet = Simulation(tmp_path, devices=5)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    record = [row.data for row in record_of(fleet) if row.kind == changes.TARGETS]
    sizes = [sum(len(move["devices"]) for move in data["moves"]) for data in record]
    assert sizes[:3] == [2, 2, 1]
    assert max(sizes) == 2
    assert compare(replay(record_of(fleet)), stored(fleet)) == []
    fleet.store.close()


def test_an_idle_pass_records_nothing(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0"))
    fleet.step(8)
    before = len(record_of(fleet))
    fleet.step(3)
    assert len(record_of(fleet)) == before
    fleet.store.close()


def test_a_selection_and_a_grant_of_many_are_one_change_each(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=5)
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    moves = [
        move
        for row in record_of(fleet)
        if row.kind == changes.TARGETS
        for move in row.data["moves"]
    ]
    assert [len(move["devices"]) for move in moves] == [5]


def test_a_change_says_who_or_what_made_it(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(1)
    fleet.verb(Verb.PAUSE)
    causes = {row.kind: row.cause for row in record_of(fleet)}
    assert causes[changes.HOLD] == "pause by ops"
    reported = {row.cause for row in record_of(fleet) if row.kind == changes.TARGETS}
    assert reported == {"commit 000000000000 by Ada <ada@acme.example>", "report"}
    fleet.store.close()


def test_a_change_without_a_cause_is_refused(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    with pytest.raises(RuntimeError, match="without a cause"), fleet.store.write() as connection:
        runs.set_on_run(connection, fleet.run().seq, reason="Whim")
    assert fleet.run().reason != "Whim"
    fleet.store.close()


def test_runs_from_before_the_record_are_left_out_and_counted(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0"))
    with fleet.store.write() as connection:
        connection.execute(delete(t.events))
    fleet.now += 60
    fleet.commit(manifest("2.0.0"))
    fleet.step(6)
    rebuilt, there = replay(record_of(fleet)), stored(fleet)
    assert compare(rebuilt, there) == []
    assert older_runs(rebuilt, there) == {1}
    assert rebuilt.runs.keys() == {2}
    fleet.store.close()


def test_a_row_that_nobody_recorded_is_a_difference(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(reason="Whim"))
    (difference,) = compare(replay(record_of(fleet)), stored(fleet))
    assert (difference.table, difference.key) == ("targets", (1, 1))
    fleet.store.close()


def test_only_the_store_room_writes_what_a_replay_rebuilds() -> None:
    room = Path(runs.__file__).parent
    written = re.compile(
        r"(insert|update|delete)\(t\.(runs|batches|holds|targets)\)"
        r"|t\.(runs|batches|holds|targets)\.(insert|update|delete)\("
    )
    private = {"inventory_file.py"}  # writes a store of its own, of which nothing is recorded
    found = [
        file.name
        for file in room.parent.rglob("*.py")
        if room not in file.parents and written.search(file.read_text(encoding="utf-8"))
    ]
    assert set(found) <= private
