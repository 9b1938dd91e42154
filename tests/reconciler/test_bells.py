"""Whose document changes is rung for: a parked or quiet device would not learn of it otherwise."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import ORGANIZATION, POLL_S, PlayedDevice, Simulation, manifest
from tests.reconciler.waking import break_for, installed, shown
from towline.reconciler.acts import Act, act
from towline.reconciler.device_acts import act_on_device
from towline.reconciler.ingest import commit_reports, mark_fetched
from towline.reconciler.passing import pass_over
from towline.reconciler.store import tables as t
from towline.reconciler.store.presence import mark_seen
from towline.schemas.reports import Attempt, Report
from towline.schemas.states import Verb

AT_ONCE = "  strategy: immediate\n  order: name\n"
HALF = (
    "  strategy: {type: batches, batches: [{name: half, size: 50%}]}\n"
    "  order: name\n  successThreshold: 100%\n"
)


class RungFleet(Simulation):
    """A fleet whose devices look at their documents only when they are rung for."""

    def hear(self, change: Callable[[], set[int]]) -> None:
        """Hold the bells of one change against the documents that it changed."""
        before = self.documents(self.devices.values())
        rung = change()
        after = self.documents(self.devices.values())
        changed = {
            device.name
            for device in self.devices.values()
            if device.seq not in rung and before[device.seq] != after[device.seq]
        }
        assert not changed, f"not rung for: {sorted(changed)}"

    def pass_over_all(self) -> None:
        """As always, with every step's bells."""
        with self.store.read() as connection:
            known = set(connection.execute(select(t.runs.c.deployment)).scalars())
        for name in sorted(known | set(self.head.deployments)):
            self.hear(lambda name=name: self._pass(name))  # type: ignore[misc]

    def _pass(self, name: str) -> set[int]:
        rung: set[int] = set()
        pass_over(self.store, self.head, name, self.now, POLL_S, on_touched=rung.update)
        return rung

    def report(self, device: PlayedDevice, attempt: Attempt | None = None) -> None:
        """As always, with the bells of the report."""

        def send() -> set[int]:
            device.report_seq += 1
            sent = Report("j", device.report_seq, 0, attempt, versions=dict(device.installed))
            with self.store.write() as connection:
                return commit_reports(connection, self.now, [(device.seq, sent)]) | {device.seq}

        self.hear(send)

    def verb(self, asked: Act | Verb, name: str = "app", *, accept: bool = False) -> None:
        """As always, with the bells of the act."""
        run_id: UUID = self.run(name).id
        whole = asked if isinstance(asked, Act) else Act(asked, accept=accept)
        self.hear(
            lambda: act(
                self.store, ORGANIZATION, run_id, whole, author="ops", reason="so", now=self.now
            )
        )
        self.settle()

    def verb_on(self, device: str, verb: Verb) -> None:
        """An act on one device."""
        run_id: UUID = self.run("app").id
        self.hear(
            lambda: act_on_device(
                self.store,
                ORGANIZATION,
                run_id,
                device,
                verb,
                author="ops",
                reason="so",
                now=self.now,
            )
        )
        self.settle()


@pytest.fixture
def fleet(tmp_path: Path) -> RungFleet:
    """Half of the devices are the first batch, and one of its two members failed."""
    fleet = RungFleet(tmp_path, devices=4)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(3)
    fleet.stages_at_once = False
    break_for(fleet, "2.0.0", "till-1")
    fleet.devices["till-2"].is_online = False
    fleet.commit(manifest("2.0.0", HALF))
    fleet.step(2)
    assert shown(fleet) == ("paused", "ThresholdNotMet")
    for device in fleet.devices.values():
        device.is_online, device.breaks = True, lambda _: False
    fleet.step()
    return fleet


def test_members_of_a_failed_batch_are_rung_for_when_it_is_retried(fleet: RungFleet) -> None:
    fleet.verb(Verb.RETRY)
    fleet.step(6)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 4)


def test_members_of_a_failed_batch_are_rung_for_when_it_is_accepted(fleet: RungFleet) -> None:
    fleet.verb_on("till-1", Verb.RETRY)
    fleet.verb(Verb.RESUME, accept=True)
    fleet.step(6)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 4)


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.ROLLBACK, Verb.PAUSE])
def test_every_act_rings_for_whom_it_changes(fleet: RungFleet, verb: Verb) -> None:
    fleet.verb(Verb.RETRY)
    fleet.step(2)
    fleet.verb(verb)
    fleet.step(2)


def test_what_one_device_is_told_rings_for_it(fleet: RungFleet) -> None:
    fleet.verb(Verb.RETRY)
    fleet.step(6)
    fleet.verb_on("till-2", Verb.ROLLBACK)
    fleet.step(3)
    fleet.verb_on("till-2", Verb.RETRY)
    fleet.step(3)
    assert len(installed(fleet, "2.0.0")) == 4


def test_a_revert_rings_for_all_that_go_home(fleet: RungFleet) -> None:
    fleet.verb(Verb.RETRY)
    fleet.step(2)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(6)
    assert (shown(fleet)[0], len(installed(fleet, "1.0.0"))) == ("completed", 4)


def test_whoever_no_longer_prepares_is_rung_for(fleet: RungFleet) -> None:
    fleet.verb(Verb.RETRY)
    fleet.commit(manifest("2.0.0", HALF + "  filters: {exclude: [till-1, till-2]}\n"))
    fleet.commit(manifest("3.0.0", HALF))
    fleet.commit()


def test_whoever_comes_back_after_preparing_is_rung_for(tmp_path: Path) -> None:
    fleet = RungFleet(tmp_path, devices=10)
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", "  strategy: {type: canary, percentage: 20}\n"))
    name = next(name for name, state in fleet.targets().items() if state == "pending")
    silent = fleet.devices[name]
    with fleet.store.write() as connection:
        mark_seen(connection, {silent.seq: fleet.now})
        mark_fetched(connection, fleet.now, {(silent.seq, "app")})
    silent.is_online = False
    fleet.step(5)
    silent.is_online = fleet.stages_at_once = True
    fleet.step(8)
    assert fleet.run().status == "completed"
