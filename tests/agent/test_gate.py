"""When an install may start, what is told of its waiting, and what goes on meanwhile. Pure."""

import dataclasses
from datetime import date
from typing import Any

import pytest

from tests.agent.test_decide import outcome, record, release, seen, snapshot, wanted
from towline.agent.actions import Abandon, Action, Begin, Confirm, Hold, Perform, Tell
from towline.agent.attempt import UNTOUCHED, Step
from towline.agent.decide import decide, waiting
from towline.agent.observe import ComponentSeen, Snapshot
from towline.schemas.desired_state import ComponentAction
from towline.schemas.states import TargetState
from towline.schemas.windows import Allow, Deny, Window

HOUR_S = 3600
MIDNIGHT = 1_768_435_200
"""2026-01-15 00:00 UTC."""
NIGHT = (Window(Allow(frozenset(range(7)), 60, 4 * HOUR_S)),)
CHECK = {"name": "web", "delay": 60, "period": 5, "successes": 1, "timeout": 240}


def staged(**changes: Any) -> Snapshot:
    """A release that lies staged and is to be installed at night."""
    of = wanted(windows=NIGHT, **changes.pop("of", {}))
    found = snapshot(of, components=seen(staged=(release("1"),)), now=MIDNIGHT)
    return dataclasses.replace(found, **changes)


def hold_of(actions: list[Action]) -> Hold:
    (hold,) = (action for action in actions if isinstance(action, Hold))
    return hold


def test_outside_its_window_an_install_waits_and_says_until_when() -> None:
    tell, hold = decide(staged())
    assert isinstance(tell, Tell)
    assert isinstance(hold, Hold)
    assert (hold.reason, hold.until) == ("WaitingForWindow", MIDNIGHT + HOUR_S)
    assert hold.message == "opens Thu 2026-01-15 01:00 UTC; only daily from 01:00 for 4 h (UTC)"
    assert (tell.reason, tell.message, tell.until) == (hold.reason, hold.message, hold.until)


def test_inside_its_window_an_install_begins() -> None:
    now = staged(now=MIDNIGHT + HOUR_S)
    assert [type(action) for action in decide(now)] == [Begin]


def test_the_devices_zone_counts() -> None:
    now = staged(now=MIDNIGHT + HOUR_S, of={"time_zone": "Asia/Tokyo"})
    assert hold_of(decide(now)).until == MIDNIGHT + 16 * HOUR_S


def test_what_is_left_of_the_window_must_hold_the_install_and_its_checks() -> None:
    of = {"install_timeout_s": 600, "health": (CHECK,)}
    closing = MIDNIGHT + 5 * HOUR_S
    assert [type(a) for a in decide(staged(now=closing - 900, of=of))] == [Begin]
    hold = hold_of(decide(staged(now=closing - 899, of=of)))
    assert (hold.reason, hold.until) == ("WaitingForWindow", MIDNIGHT + 25 * HOUR_S)
    assert "the window closes before 900 s are over" in hold.message


def test_a_window_that_never_comes_is_waited_for_and_said() -> None:
    never = (Window(Deny(date(2000, 1, 1), date(9999, 12, 31)), None, "decommissioned"),)
    hold = hold_of(decide(_with_windows(staged(), never)))
    assert hold.until is None
    assert "not within 400 days; decommissioned" in hold.message


def _with_windows(now: Snapshot, windows: tuple[Window, ...]) -> Snapshot:
    assert now.document is not None
    components = tuple(
        dataclasses.replace(each, windows=windows) for each in now.document.components
    )
    return dataclasses.replace(
        now, document=dataclasses.replace(now.document, components=components)
    )


def test_a_device_that_does_not_know_the_zone_installs_nothing_and_says_which() -> None:
    far = (Window(Allow(frozenset(range(7)), 0, 24 * HOUR_S), "Mars/Olympus"),)
    hold = hold_of(decide(_with_windows(staged(), far)))
    assert hold.reason == "WaitingForWindow"
    assert "Mars/Olympus" in hold.message


def test_a_lock_holds_installs_and_is_told_with_its_reason() -> None:
    now = staged(now=MIDNIGHT + HOUR_S, locks=("line-3: till is in use",))
    tell, hold = decide(now)
    assert isinstance(tell, Tell)
    assert (tell.reason, tell.message) == ("Locked", "line-3: till is in use")
    assert hold == Hold("app", "Locked", "line-3: till is in use")


def test_a_wait_is_told_once_and_again_when_it_is_another() -> None:
    tell, hold = decide(staged())
    assert isinstance(tell, Tell)
    told = {"app": waiting(tell)}
    assert decide(staged(waits=told)) == [hold]
    for another in (
        staged(waits=told, locks=("a",)),
        staged(waits=told, now=MIDNIGHT + 5 * HOUR_S),
        staged(waits=told, of={"attempt": 2}),
        staged(waits=told, of={"deployment": "e"}),
    ):
        assert [type(action) for action in decide(another)] == [Tell, Hold]


def test_a_preparation_asks_for_no_window_and_no_lock_and_tells_once_that_it_is_over() -> None:
    of = {"action": ComponentAction.PREPARE}
    bare = staged(of=of, locks=("a",), components={}, answer_age_s=None)
    assert [type(action) for action in decide(bare)] == [Begin]
    (tell,) = decide(staged(of=of, locks=("a",)))
    assert isinstance(tell, Tell)
    assert tell.reason == "Staged"
    assert decide(staged(of=of, waits={"app": waiting(tell)})) == []


@pytest.mark.parametrize("action", [ComponentAction.PREPARE, ComponentAction.INSTALL])
def test_a_component_that_waits_keeps_no_other_from_its_work(action: ComponentAction) -> None:
    waits, other = wanted(windows=NIGHT), wanted(name="other", action=action)
    now = snapshot(waits, other, components=seen(staged=(release("1"),)), now=MIDNIGHT)
    assert Begin(other, Step.DOWNLOAD) in decide(now)
    ready = {"app": ComponentSeen(staged=(release("1"),))}
    ready |= {"other": ComponentSeen(staged=(release("1"),))}
    began = Begin(other, Step.SAVE) in decide(dataclasses.replace(now, components=ready))
    assert began is (action is ComponentAction.INSTALL)


def test_an_install_that_a_stop_left_before_it_touched_anything_waits_like_any_other() -> None:
    at_save = record(wanted(), Step.SAVE, runs=1)
    assert decide(staged(attempt=at_save)) == [Abandon("app")]
    assert decide(staged(attempt=at_save, locks=("a",), now=MIDNIGHT + HOUR_S)) == [Abandon("app")]
    assert decide(staged(attempt=at_save, now=MIDNIGHT + HOUR_S)) == [Perform("app", Step.SAVE)]


@pytest.mark.parametrize("step", sorted(set(Step) - UNTOUCHED))
def test_what_has_begun_finishes_outside_its_window_and_under_a_lock(step: Step) -> None:
    begun = staged(attempt=record(wanted(), step), locks=("a",), answer_age_s=None)
    assert decide(begun) == [Perform("app", step)]


BACK = wanted("1", action=ComponentAction.ROLLBACK)


def test_going_back_takes_what_lies_here_and_waits_like_an_install() -> None:
    here = seen(current=release("2"), previous=release("1"), staged=(release("1"), release("2")))
    assert decide(snapshot(BACK, components=here)) == [Begin(BACK, Step.SAVE)]
    gone = seen(current=release("2"), staged=(release("2"),))
    assert decide(snapshot(BACK, components=gone)) == [Begin(BACK, Step.DOWNLOAD)]
    closed = dataclasses.replace(BACK, windows=NIGHT)
    now = snapshot(closed, components=here, now=MIDNIGHT)
    assert hold_of(decide(now)).reason == "WaitingForWindow"


def test_going_back_is_over_when_it_was_told_as_such_and_not_when_it_once_completed() -> None:
    home = {"current": release("1"), "staged": (release("1"),)}
    completed = outcome(wanted("1"), TargetState.COMPLETED)
    assert decide(snapshot(BACK, components=seen(**home, outcome=completed))) == [Confirm(BACK)]
    back = outcome(BACK, TargetState.ROLLED_BACK, "RolledBackByUser")
    assert decide(snapshot(BACK, components=seen(**home, outcome=back))) == []
    again = wanted("1")
    assert decide(snapshot(again, components=seen(**home, outcome=back))) == [Confirm(again)]


def test_a_way_back_that_failed_is_not_tried_again_by_itself() -> None:
    failed = outcome(BACK, TargetState.FAILED, "RollbackFailed")
    here = seen(current=release("2"), staged=(release("1"), release("2")), outcome=failed)
    assert hold_of(decide(snapshot(BACK, components=here))).reason == "RollbackFailed"


def test_a_release_that_failed_in_another_run_may_be_gone_back_to() -> None:
    failed = outcome(wanted("1", deployment="e"), TargetState.ROLLED_BACK, "InstallFailed")
    here = seen(current=release("2"), staged=(release("1"), release("2")), outcome=failed)
    assert decide(snapshot(BACK, components=here)) == [Begin(BACK, Step.SAVE)]
