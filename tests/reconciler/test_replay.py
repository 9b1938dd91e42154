"""What happened can be rebuilt from its record alone, as of now and as of any time."""

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.acts import NotAllowed
from towline.reconciler.device_acts import DEVICE_VERBS, act_on_device
from towline.reconciler.replay import Rebuilt, compare, replay
from towline.reconciler.replaying import stored_rows
from towline.reconciler.store import changes
from towline.reconciler.store.changes import Change
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
TestRecordedLife.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
