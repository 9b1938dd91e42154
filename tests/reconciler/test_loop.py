"""The loop: one Deployment's trouble stays its own, and what was committed is always rung for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from tests.reconciler.test_follow import NOW, Fleet, app
from towline.manifests.repository import Repository
from towline.reconciler import loop, passing
from towline.reconciler.actions import Action
from towline.reconciler.acts import accept_commit
from towline.reconciler.decide import decide as real_decide
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.passing import pass_over
from towline.reconciler.snapshot import Snapshot
from towline.reconciler.store import dirt, reading_audit, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.audit import Deed, DeedStore
from towline.reconciler.store.people import Person, Role
from towline.schemas import audit_chain


def test_a_deployment_whose_pass_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    fleet.commit(a=app("1.0.0", "a"), b=app("1.0.0", "b"))

    def breaks_on_a(world: Snapshot) -> list[Action]:
        if world.deployment == "a":
            raise RuntimeError("a bug")
        return real_decide(world)

    monkeypatch.setattr(passing, "decide", breaks_on_a)
    clock = [float(NOW)]
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: clock[0])
    reconciler.pass_once()

    def has_run(name: str) -> bool:
        with fleet.store.read() as connection:
            return runs.newest_run(connection, ORGANIZATION, name) is not None

    assert (has_run("a"), has_run("b")) == (False, True)
    monkeypatch.setattr(passing, "decide", real_decide)
    clock[0] += loop.FAILING_REST_S
    reconciler.pass_once()
    assert has_run("a")


def test_what_a_pass_had_taken_up_when_the_store_went_away_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    fleet.commit(a=app("1.0.0", "a"), b=app("1.0.0", "b"))
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: float(NOW))

    def away(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(loop, "pass_over", away)
        reconciler.pass_once()
    reconciler.pass_once()
    with fleet.store.read() as connection:
        for name in ("a", "b"):
            assert runs.newest_run(connection, ORGANIZATION, name) is not None


def test_a_pass_that_has_nothing_to_do_takes_nobodys_turn_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, passed = Fleet(tmp_path), []
    fleet.commit(a=app("1.0.0", "a"))
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: float(NOW))
    reconciler.pass_once()
    monkeypatch.setattr(loop, "pass_over", lambda _, __, name, *___: passed.append(name))
    reconciler.pass_once()

    def unexpected() -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(fleet.store, "write", unexpected)
        reconciler.pass_once()
    passed.clear()
    with fleet.store.write() as connection:
        dirt.mark(connection, ORGANIZATION, "a")
    reconciler.pass_once()
    assert passed == ["a"]


def test_the_head_of_the_audit_is_logged_once_an_hour(tmp_path: Path) -> None:
    """So that acts that were cut off at its end show where the log is kept elsewhere."""
    fleet, clock = Fleet(tmp_path), [float(NOW)]
    fleet.commit(a=app("1.0.0", "a"))
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: clock[0])
    ada = Person("Ada", ORGANIZATION, Role.ADMIN, "x", None)
    with capture_logs() as logged:
        for pause_s in (0, 60, loop.RESYNC_S):
            clock[0] += pause_s
            reconciler.pass_once()
            DeedStore(fleet.store, Deed(ada, "token.create", NOW)).keep()
    with fleet.store.read() as connection:
        acts, _ = reading_audit.acts(connection, ORGANIZATION, reading_audit.AuditFilter(), 9)
    told = [(each["acts"], each["hash"]) for each in logged if each["event"] == "audit.head"]
    assert told == [(0, audit_chain.BEGIN), (2, acts[1]["hash"])]
    assert loop.RESYNC_S == 3600


def test_once_an_hour_everything_is_looked_at_as_if_nothing_were_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, clock, passed = Fleet(tmp_path), [float(NOW)], []
    fleet.commit(a=app("1.0.0", "a"), b=app("1.0.0", "b"))
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: clock[0])
    for _ in range(2):
        reconciler.pass_once()
    monkeypatch.setattr(loop, "pass_over", lambda _, __, name, *___: passed.append(name))
    with fleet.store.write() as connection:
        known = {"settled_for": "x", "walked_for": "x", "heard_since": NOW}
        connection.execute(update(t.runs).values(known))
    looks = select(t.runs.c.settled_for, t.runs.c.walked_for, t.runs.c.heard_since)
    for pause_s, names, row in (
        (loop.RESYNC_S - 1, [], ("x", "x", NOW)),
        (1, ["a", "b"], (None, None, None)),
    ):
        clock[0] += pause_s
        reconciler.pass_once()
        with fleet.store.read() as connection:
            assert connection.execute(looks).all() == [row, row]
        assert passed == names


def test_a_commit_that_was_accepted_is_applied_in_the_next_pass(tmp_path: Path) -> None:
    """Also where git was looked at within the last second."""
    fleet = Fleet(tmp_path)
    clock = [float(NOW)]
    settings = LoopSettings(ORGANIZATION, POLL_S, 3600)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: clock[0])
    fleet.commit(a=app("1.0.0", "a"))
    former = fleet.commit(a=app("2.0.0", "a"))
    reconciler.pass_once()
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    pushed = fleet.commit(a=app("3.0.0", "a"))
    clock[0] += loop.GIT_REST_S
    reconciler.pass_once()
    assert reconciler.head is not None
    assert reconciler.head.commit.sha == former
    accept_commit(fleet.store, ORGANIZATION, pushed, author="ops", reason="x", now=NOW)
    reconciler.pass_once()
    assert reconciler.head.commit.sha == pushed


def test_a_clock_set_back_by_a_year_keeps_nothing_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    clock = [float(NOW + 365 * 86400)]
    looked_at: list[str] = []

    def fails(world: Snapshot) -> list[Action]:
        looked_at.append(world.deployment)
        raise RuntimeError("a bug")

    def looks(world: Snapshot) -> list[Action]:
        looked_at.append(world.deployment)
        return []

    monkeypatch.setattr(passing, "decide", fails)
    settings = LoopSettings(ORGANIZATION, POLL_S, 1)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, lambda: clock[0])
    fleet.commit(a=app("1.0.0", "a"))
    reconciler.pass_once()
    assert looked_at == ["a"]
    clock[0] = float(NOW)
    head = fleet.commit(a=app("2.0.0", "a"))
    reconciler.pass_once()
    assert reconciler.head is not None
    assert reconciler.head.commit.sha == head
    assert looked_at == ["a", "a"]
    monkeypatch.setattr(passing, "decide", looks)
    clock[0] += loop.FAILING_REST_S
    reconciler.pass_once()
    reconciler.pass_once()
    assert len(looked_at) == 3
    clock[0] -= 86400
    reconciler.pass_once()
    assert len(looked_at) == 4


@pytest.mark.parametrize(
    "trouble",
    [
        RuntimeError("the disk is full"),
        OperationalError("SELECT", {}, Exception("the disk is full")),
    ],
    ids=["of the step", "of the store"],
)
def test_a_step_that_was_committed_is_rung_for_though_a_later_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    fleet = Simulation(tmp_path, devices=1)
    monkeypatch.setattr(fleet, "settle", lambda: None)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    rung: set[int] = set()

    def fails_after_a_batch_was_opened(world: Snapshot) -> list[Action]:
        if world.batches:
            raise trouble
        return real_decide(world)

    monkeypatch.setattr(passing, "decide", fails_after_a_batch_was_opened)
    with pytest.raises(type(trouble), match="disk"):
        pass_over(fleet.store, fleet.head, "app", fleet.now, POLL_S, rung.update)
    assert rung == {fleet.devices["till-1"].seq}


def test_the_steps_of_a_pass_share_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Simulation(tmp_path, devices=1)
    monkeypatch.setattr(fleet, "settle", lambda: None)
    monkeypatch.setattr(passing, "TURN_S", 60)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    turns: list[set[int]] = []
    pass_over(fleet.store, fleet.head, "app", fleet.now, POLL_S, turns.append)
    assert turns == [{fleet.devices["till-1"].seq}]
    assert fleet.run("app").status == "in_progress"


def test_others_have_their_turn_after_a_step_that_took_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Simulation(tmp_path, devices=1)
    monkeypatch.setattr(fleet, "settle", lambda: None)
    monkeypatch.setattr(passing, "TURN_S", 0)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    write, turns = fleet.store.write, []

    def counted() -> Any:
        turns.append(1)
        return write()

    monkeypatch.setattr(fleet.store, "write", counted)
    pass_over(fleet.store, fleet.head, "app", fleet.now, POLL_S)
    assert len(turns) > 2
    assert fleet.run("app").status == "in_progress"


def test_to_wait_for_its_turn_takes_nothing_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Simulation(tmp_path, devices=1)
    monkeypatch.setattr(fleet, "settle", lambda: None)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    write, clock, turns = fleet.store.write, [0.0], []

    def after_others() -> Any:
        clock[0] += 10 * passing.TURN_S
        turns.append(1)
        return write()

    monkeypatch.setattr(passing, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(fleet.store, "write", after_others)
    pass_over(fleet.store, fleet.head, "app", fleet.now, POLL_S)
    assert len(turns) == 1
    assert fleet.run("app").status == "in_progress"
