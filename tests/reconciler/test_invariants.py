"""A fleet that lives through anything: the manual's invariants hold, and it always gets home."""

import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import and_, func, or_, select

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from tests.soaking import examples
from towline.reconciler.acts import Act, NotAllowed
from towline.reconciler.device_acts import DEVICE_VERBS, act_on_device
from towline.reconciler.observe import observe
from towline.reconciler.store import tables as t
from towline.reconciler.store.changed_devices import unsettle
from towline.reconciler.store.clocks import awaits_verdict
from towline.schemas.states import ACTIVE_TARGETS, FINISHED_RUNS, RunState, Verb

LIMIT = 2
STORES = {"till-1": "s1", "till-2": "s1", "till-3": "s2", "till-4": "s2"}
STRATEGIES = (
    "immediate",
    "canary",
    "{type: rolling, batchSize: 50%, minDevices: 1}",
    "{type: batches, batches: [{name: a, size: 40%, approval: manual}, {name: b, size: 80%}]}",
)
MORE = ("", "  safeMode: true\n", "  onFailure: rollback\n", "  soak: 3m\n", "  selfHeal: false\n")
DEVICES = st.sampled_from(["till-1", "till-2", "till-3", "till-4", "till-5"])
NAMES = st.sampled_from(["app", "firmware"])
_ACTIVE = [state.value for state in ACTIVE_TARGETS]


class Undone(Exception):
    """What was tried is taken back."""


class FleetLife(RuleBasedStateMachine):
    """Two Deployments of two components: commits, silences, failures, drift, acts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fleet = Simulation(Path(self.folder.name), devices=0)
        for number in range(1, 6):
            name = f"till-{number}"
            labels = {"store": STORES[name]} if name in STORES else {}
            self.fleet.enrol(name, **labels)
        self.bad: set[str] = set()
        self.versions = {"app": 0, "firmware": 0}
        self.specs: dict[str, str] = {}
        self.granted: set[tuple[int, int, int]] = set()
        self.fleet.on_step = self.a_grant_obeys_every_rule

    def teardown(self) -> None:
        self.get_home()
        self.fleet.store.close()
        self.folder.cleanup()

    def spec(self, strategy: str, more: str = "") -> str:
        return (
            f"  strategy: {strategy}\n  maxConcurrent: {LIMIT}\n  offline: {{after: 10m}}\n"
            "  deviceTimeout: 15m\n  progressDeadline: 6h\n"
            f"  disruptionBudget: {{groupBy: store, maxUnavailable: 1}}\n{more}"
        )

    def commit(self, name: str, version: int, spec: str) -> None:
        self.versions[name] = version
        self.specs[name] = manifest(f"{version}.0.0", spec, name)
        self.fleet.commit(*self.specs.values())

    @initialize(strategy=st.sampled_from(STRATEGIES))
    def first(self, strategy: str) -> None:
        self.commit("app", 1, self.spec(strategy))

    @rule(name=NAMES, strategy=st.sampled_from(STRATEGIES), more=st.sampled_from(MORE))
    def ship(self, name: str, strategy: str, more: str) -> None:
        self.commit(name, self.versions[name] + 1, self.spec(strategy, more))

    @rule(name=NAMES, strategy=st.sampled_from(STRATEGIES))
    def revert(self, name: str, strategy: str) -> None:
        self.commit(name, max(1, self.versions[name] - 1), self.spec(strategy))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.specs.pop(name, None)
        self.fleet.commit(*self.specs.values())

    @rule(times=st.integers(1, 4))
    def live(self, times: int) -> None:
        self.fleet.step(times)

    @rule(hours=st.integers(1, 30))
    def jump(self, hours: int) -> None:
        """Nobody looks for hours."""
        self.fleet.now += hours * 3600
        self.fleet.step()

    @rule(device=DEVICES)
    def change_connection(self, device: str) -> None:
        self.fleet.devices[device].is_online ^= True

    @rule(device=DEVICES)
    def change_luck(self, device: str) -> None:
        self.bad ^= {device}
        self.fleet.devices[device].breaks = lambda _version: device in self.bad

    @rule(device=DEVICES)
    def lose_state(self, device: str) -> None:
        """The agent forgets its last document and fetches again; it reports what it runs."""
        self.fleet.devices[device].etag = None

    @rule(device=DEVICES)
    def drift(self, device: str) -> None:
        """Somebody installs something else by hand."""
        self.fleet.install_by_hand(device, "app", "0.0.1")

    @rule(name=NAMES, verb=st.sampled_from(Verb), accept=st.booleans())
    def act(self, name: str, verb: Verb, accept: bool) -> None:
        if self.fleet.run(name) is None:
            return
        with suppress(NotAllowed):
            self.fleet.verb(Act(verb, accept=accept), name)

    @rule(name=NAMES, minutes=st.integers(1, 90))
    def pause_for(self, name: str, minutes: int) -> None:
        if self.fleet.run(name) is not None:
            with suppress(NotAllowed):
                self.fleet.verb(Act(Verb.PAUSE, pause_s=minutes * 60), name)

    @rule()
    def join(self) -> None:
        """A device comes late."""
        if len(self.fleet.devices) < 7:
            self.fleet.enrol(f"till-{len(self.fleet.devices) + 1}")
            self.fleet.settle()

    @rule(name=NAMES, device=DEVICES, verb=st.sampled_from(DEVICE_VERBS))
    def act_on_one(self, name: str, device: str, verb: Verb) -> None:
        run = self.fleet.run(name)
        if run is None:
            return
        with suppress(NotAllowed):
            act_on_device(
                self.fleet.store,
                ORGANIZATION,
                run.id,
                device,
                verb,
                author="ops",
                reason="because",
                now=self.fleet.now,
            )
        self.fleet.settle()

    def a_grant_obeys_every_rule(self) -> None:
        """Asked after every transaction of the reconciler."""
        with self.fleet.store.read() as connection:
            rows = connection.execute(
                select(
                    t.targets,
                    t.runs.c.deployment,
                    t.runs.c.is_retry,
                    t.device_components.c.known_bad,
                )
                .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
                .outerjoin(
                    t.device_components,
                    and_(
                        t.device_components.c.device_seq == t.targets.c.device_seq,
                        t.device_components.c.component == t.targets.c.component,
                    ),
                )
                .where(t.targets.c.granted_at.is_not(None), awaits_verdict())
            ).all()
            holds = connection.execute(select(t.holds)).all()
        keys = {(row.run_seq, row.device_seq, row.attempt) for row in rows}
        fresh = [r for r in rows if (r.run_seq, r.device_seq, r.attempt) not in self.granted]
        self.granted = keys
        if not fresh:
            return
        slots = Counter(row.deployment for row in rows if not row.is_set_aside)
        installing = Counter(row.device_seq for row in rows if row.status in _ACTIVE)
        names = {device.seq: device.name for device in self.fleet.devices.values()}
        away = Counter(STORES.get(names[seq], names[seq]) for seq in {r.device_seq for r in rows})
        for row in fresh:
            held = [h for h in holds if h.deployment == row.deployment]
            assert not [h for h in held if h.run_seq in (None, row.run_seq)], "a hold stands"
            assert slots[row.deployment] <= LIMIT, "maxConcurrent"
            assert installing[row.device_seq] == 1, "one install at a time on a device"
            group = STORES.get(names[row.device_seq], names[row.device_seq])
            assert away[group] == 1, "the budget"
            is_first = row.attempt == 1 and not row.goes_back and not row.is_retry
            assert not (is_first and row.known_bad == row.sha256), "known to be bad"

    @invariant()
    def a_run_is_paused_exactly_while_a_hold_stands(self) -> None:
        for name in ("app", "firmware"):
            run = self.fleet.run(name)
            if run is None or RunState(run.status) in FINISHED_RUNS:
                continue
            with self.fleet.store.read() as connection:
                held = connection.execute(
                    select(func.count())
                    .select_from(t.holds)
                    .where(
                        t.holds.c.deployment == name,
                        or_(t.holds.c.run_seq.is_(None), t.holds.c.run_seq == run.seq),
                    )
                ).scalar_one()
            assert (run.status == "paused") == (held > 0)

    @invariant()
    def nobody_is_forgotten_who_was_looked_at_before(self) -> None:
        """A pass that looks at changed devices alone sees what one sees that looks at all."""
        for name in self.specs:
            worlds = []
            for is_anew in (False, True):
                with suppress(Undone), self.fleet.store.write() as connection:
                    if is_anew:
                        unsettle(connection, ORGANIZATION)
                    world = observe(
                        connection,
                        self.fleet.head,
                        name,
                        now=self.fleet.now,
                        poll_interval_s=POLL_S,
                    )
                    worlds.append(replace(world, fleet=replace(world.fleet, is_owner=True)))
                    raise Undone
            kept, anew = worlds
            assert kept.next_clock is None or kept.next_clock > self.fleet.now
            if anew.next_clock is not None:
                assert kept.next_clock is not None and kept.next_clock <= anew.next_clock
            assert replace(kept, next_clock=anew.next_clock, silence=anew.silence) == anew

    @invariant()
    def what_waits_has_a_clock_ahead_and_only_the_newest_run_has_one(self) -> None:
        with self.fleet.store.read() as connection:
            rows = connection.execute(
                select(t.runs.c.deployment, t.runs.c.next_due).order_by(t.runs.c.seq)
            ).all()
        newest = {row.deployment: row for row in rows}
        for row in rows:
            assert row.next_due is None or row.next_due > self.fleet.now
            assert row.next_due is None or row is newest[row.deployment]

    @invariant()
    def nobody_waits_in_a_run_that_is_not_the_newest(self) -> None:
        newest = select(func.max(t.runs.c.seq)).group_by(t.runs.c.deployment)
        with self.fleet.store.read() as connection:
            waiting = connection.execute(
                select(t.targets).where(
                    t.targets.c.status == "pending",
                    t.targets.c.granted_at.is_(None),
                    t.targets.c.run_seq.not_in(newest),
                )
            ).all()
        assert not waiting

    @invariant()
    def no_batch_opens_before_the_former_passed(self) -> None:
        with self.fleet.store.read() as connection:
            rows = connection.execute(
                select(t.batches).order_by(t.batches.c.run_seq, t.batches.c.number)
            ).all()
        for before, after in pairwise(rows):
            if before.run_seq == after.run_seq:
                assert before.ended_at is not None
                assert before.ended_at <= after.opened_at or before.state == "failed"

    @invariant()
    def an_edit_of_tuning_alone_never_makes_a_run(self) -> None:
        with self.fleet.store.read() as connection:
            rows = connection.execute(
                select(
                    t.runs.c.deployment,
                    t.runs.c.revision,
                    t.runs.c.reason,
                    t.runs.c.is_retry,
                    t.runs.c.let_go_at,
                ).order_by(t.runs.c.deployment, t.runs.c.seq)
            ).all()
        for before, after in pairwise(rows):
            if (before.deployment, before.revision) == (after.deployment, after.revision):
                was_removed = before.reason == "ManifestRemoved" or before.let_go_at is not None
                assert after.is_retry or was_removed

    def get_home(self) -> None:
        """Whatever happened: with every device well, a new good release reaches all of them."""
        fleet = self.fleet
        self.bad.clear()
        for device in fleet.devices.values():
            device.is_online, device.etag = True, None
        fleet.step()
        spec = self.spec("canary")
        self.specs = {name: manifest("99.0.0", spec, name) for name in ("app", "firmware")}
        fleet.commit(*self.specs.values())
        for name in self.specs:
            with suppress(NotAllowed):
                fleet.verb(Verb.RESUME, name)
        for _ in range(40):
            fleet.step()
            if all(fleet.run(name).status == "completed" for name in self.specs):
                break
        fleet.step(3)
        for name in self.specs:
            run = fleet.run(name)
            assert (run.status, run.target_version) == ("completed", "99.0.0"), run
        for device in fleet.devices.values():
            assert {each.version for each in device.installed.values()} == {"99.0.0"}, device


TestFleetLife = FleetLife.TestCase
TestFleetLife.settings = settings(max_examples=examples(5), stateful_step_count=12)
pytestmark = pytest.mark.timeout(1200)
