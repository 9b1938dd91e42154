"""A fleet that lives through anything: the manual's invariants hold, and it always gets home."""

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select

from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.acts import NotAllowed
from towline.reconciler.store import tables as t
from towline.schemas.states import ACTIVE_TARGETS, FINISHED_RUNS, RunState, Verb

LIMIT = 2
STRATEGIES = ("immediate", "canary", "{type: rolling, batchSize: 50%, minDevices: 1}")
NAMES = st.sampled_from(["till-1", "till-2", "till-3", "till-4", "till-5"])
_ACTIVE = [state.value for state in ACTIVE_TARGETS]


class FleetLife(RuleBasedStateMachine):
    """Commits, silences, failures, restarts and verbs in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Simulation(Path(self.folder.name), devices=5)
        self.bad: set[str] = set()
        self.version = 0

    def teardown(self) -> None:
        self.get_home()
        self.fleet.store.close()
        self.folder.cleanup()

    def spec(self, strategy: str, more: str = "") -> str:
        text = f"  strategy: {strategy}\n  maxConcurrent: {LIMIT}\n  offline: {{after: 10m}}\n"
        return f"{text}  deviceTimeout: 15m\n{more}"

    @initialize(strategy=st.sampled_from(STRATEGIES))
    def first(self, strategy: str) -> None:
        self.ship(strategy)

    @rule(strategy=st.sampled_from(STRATEGIES))
    def ship(self, strategy: str) -> None:
        self.version += 1
        self.fleet.commit(manifest(f"{self.version}.0.0", self.spec(strategy)))

    @rule(strategy=st.sampled_from(STRATEGIES))
    def revert(self, strategy: str) -> None:
        self.version = max(1, self.version - 1)
        self.fleet.commit(manifest(f"{self.version}.0.0", self.spec(strategy)))

    @rule()
    def remove(self) -> None:
        self.fleet.commit()

    @rule(times=st.integers(1, 4))
    def live(self, times: int) -> None:
        self.fleet.step(times)

    @rule(name=NAMES)
    def change_connection(self, name: str) -> None:
        self.fleet.devices[name].is_online ^= True

    @rule(name=NAMES)
    def change_luck(self, name: str) -> None:
        self.bad ^= {name}
        self.fleet.devices[name].breaks = lambda _version: name in self.bad

    @rule(name=NAMES)
    def lose_state(self, name: str) -> None:
        """The agent forgets its last document and fetches again; it reports what it runs."""
        self.fleet.devices[name].etag = None

    @rule(verb=st.sampled_from(Verb), accept=st.booleans())
    def act(self, verb: Verb, accept: bool) -> None:
        if self.fleet.run() is None:
            return
        with suppress(NotAllowed):
            self.fleet.verb(verb, accept=accept)

    @invariant()
    def never_more_than_max_concurrent_hold_a_slot(self) -> None:
        with self.fleet.store.read() as connection:
            n = connection.execute(
                select(func.count())
                .select_from(t.targets)
                .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
                .where(
                    t.targets.c.granted_at.is_not(None),
                    t.targets.c.status.in_(_ACTIVE),
                    t.runs.c.status.in_(["in_progress", "completed"]),
                )
            ).scalar_one()
        assert n <= LIMIT

    @invariant()
    def a_run_is_paused_exactly_while_a_hold_stands(self) -> None:
        run = self.fleet.run()
        if run is None or RunState(run.status) in FINISHED_RUNS:
            return
        with self.fleet.store.read() as connection:
            held = connection.execute(
                select(func.count())
                .select_from(t.holds)
                .where(t.holds.c.run_seq.is_(None) | (t.holds.c.run_seq == run.seq))
            ).scalar_one()
        assert (run.status == "paused") == (held > 0)

    def get_home(self) -> None:
        """Whatever happened: with every device well, a new good release reaches all of them."""
        fleet = self.fleet
        self.bad.clear()
        for device in fleet.devices.values():
            device.is_online, device.etag = True, None
        fleet.commit(manifest("99.0.0", self.spec("canary")))
        with suppress(NotAllowed):
            fleet.verb(Verb.RESUME)
        fleet.step(60)
        run = fleet.run()
        assert (run.status, run.target_version) == ("completed", "99.0.0"), run
        versions = {device.installed["app"].version for device in fleet.devices.values()}
        assert versions == {"99.0.0"}


TestFleetLife = FleetLife.TestCase
TestFleetLife.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)
