"""`explain` tells a device's and a Deployment's story: what blocks first, and the way out."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from towline.reconciler import ways_out
from towline.reconciler.device_acts import act_on_device
from towline.reconciler.explain_deployment import explain_deployment
from towline.reconciler.explain_device import explain_device
from towline.reconciler.holding import GRAVEST_FIRST
from towline.reconciler.lengths import about
from towline.reconciler.showing import Sight
from towline.reconciler.store import tables as t
from towline.schemas.states import OUTCOMES, Verb

CANARY = "  strategy: canary\n  order: name\n"
NOW_ALL = "  strategy: immediate\n  order: name\n"


def sight(fleet: Simulation) -> Sight:
    return Sight(fleet.now, fleet.head, POLL_S)


def story(fleet: Simulation, name: str) -> dict[str, Any]:
    with fleet.store.read() as connection:
        found = explain_device(connection, ORGANIZATION, name, sight(fleet))
    assert found is not None
    return found


def part(fleet: Simulation, name: str) -> dict[str, Any]:
    (only,) = story(fleet, name)["components"]
    found: dict[str, Any] = only
    return found


def deployment(fleet: Simulation, name: str = "app") -> dict[str, Any]:
    with fleet.store.read() as connection:
        found = explain_deployment(connection, ORGANIZATION, name, sight(fleet))
    assert found is not None
    return found


def test_the_device_that_failed_and_the_one_that_waits_know_why(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", CANARY))
    fleet.step(4)
    failed, waiting = story(fleet, "till-1"), story(fleet, "till-3")
    assert "app: it runs 1.0.0." in failed["text"]
    assert (
        "wants 2.0.0, by commit 000000000000 of Ada <ada@acme.example> (a change)."
        in (failed["text"])
    )
    assert "rolled back by itself: HealthCheckFailed" in failed["text"]
    assert "towline retry app --device till-1" in failed["text"]
    assert "not selected yet; the run is paused: ThresholdNotMet" in waiting["text"]
    assert "towline resume app --accept" in waiting["text"]
    assert waiting["components"][0]["desired"] == "2.0.0"
    assert failed["lately"][-1].endswith(" device.rolled_back HealthCheckFailed")


def test_after_a_revert_the_commit_is_the_one_that_reverted(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    for version, subject in (("1.0.0", "first"), ("2.0.0", "second"), ("1.0.0", 'Revert "second"')):
        fleet.subject = subject
        fleet.commit(manifest(version, NOW_ALL))
        fleet.step(4)
    assert (
        'by commit 000000000000 of Ada <ada@acme.example> (Revert "second").'
        in story(fleet, "till-1")["text"]
    )
    assert deployment(fleet)["subject"] == 'Revert "second"'


def test_a_run_that_is_over_says_why_it_ended(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL + "  paused: true\n"))
    fleet.verb(Verb.CANCEL)
    assert "app 1.0.0: cancelled (CancelledByUser: because), " in deployment(fleet)["text"]


def test_a_device_that_is_home_has_nothing_that_blocks(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    fleet.step(5)
    found = part(fleet, "till-1")
    assert (found["blocks"], found["clears"]) == ("", "")


def test_there_is_no_story_of_what_is_not_there(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    with fleet.store.read() as connection:
        assert explain_device(connection, ORGANIZATION, "ghost", sight(fleet)) is None
        assert explain_deployment(connection, ORGANIZATION, "ghost", sight(fleet)) is None


def test_a_device_that_nothing_owns_says_what_would_change_that(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    assert "a commit whose filters match it" in story(fleet, "till-1")["text"]


def test_a_device_that_has_no_target_yet_knows_who_wants_it(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", "  start: manual\n"))
    found = part(fleet, "till-1")
    assert (found["deployment"], found["desired"]) == ("app", "1.0.0")
    assert "the run is pending: WaitingForStart" in found["blocks"]
    assert found["clears"] == "`towline start app --reason …`"


def test_a_device_that_a_person_named_is_owned(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    named = "  strategy: manual\n  filters: {devices: [till-1]}\n"
    fleet.commit(manifest("1.0.0", named + "  start: manual\n"))
    assert "No Deployment owns it" in story(fleet, "till-2")["text"]
    act_on_device(
        fleet.store, ORGANIZATION, fleet.run().id, "till-2", Verb.START,
        author="ops", reason="this one, too", now=fleet.now,
    )  # fmt: skip
    assert part(fleet, "till-2")["blocks"].startswith("It was not selected yet")


def test_a_silent_device_tells_what_it_was_last_doing(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL + "  deviceTimeout: 12h\n"))
    fleet.devices["till-1"].breaks = lambda _: pytest.fail("it is silent")
    with fleet.store.write() as connection:
        granted = {"granted_at": fleet.now, "fetched_at": fleet.now, "status": "installing"}
        due = {"deadline": fleet.now + 12 * 3600, "attempt": 2}
        connection.execute(update(t.targets).values(**granted, **due))
    fleet.devices["till-1"].is_online = False
    fleet.now += 3 * 3600
    found = part(fleet, "till-1")
    assert found["blocks"] == (
        "It holds a grant (silent for 3 h), last: installing 1.0.0, attempt 2"
    )
    assert "counts as TimedOut" in found["clears"]
    told = deployment(fleet)
    assert "Silent: till-1 for 3 h, last: installing 1.0.0, attempt 2." in told["text"]
    assert told["silent"][0]["device_id"] == "till-1"
    assert told["health"] == "unknown"
    assert "1 installing, the next deadline is" in told["text"]


def test_a_closed_window_says_when_it_opens(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    windows = '  windows:\n    - {allow: {days: Mon-Sun, start: "03:00", length: 2h}}\n'
    fleet.commit(manifest("1.0.0", NOW_ALL + windows))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(granted_at=fleet.now, fetched_at=fleet.now))
    found = part(fleet, "till-1")  # it is 08:00 in UTC
    assert found["blocks"].startswith("It waits for its window: only daily from 03:00 for 2 h")
    assert found["clears"].startswith("it opens at 2027-01-16T03:00:00Z")


def test_another_components_install_goes_first(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL), manifest("7.0.0", NOW_ALL, name="base"))
    with fleet.store.write() as connection:
        chosen = t.targets.c.component == "base"
        connection.execute(update(t.targets).values(granted_at=None, staged_at=fleet.now))
        connection.execute(update(t.targets).where(chosen).values(granted_at=fleet.now))
    app = next(p for p in story(fleet, "till-1")["components"] if p["component"] == "app")
    assert app["blocks"] == "Another install goes first: base 7.0.0 of base"


def test_a_full_budget_names_the_group(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for n in (1, 2):
        fleet.enrol(f"till-{n}", store="s1")
    budget = "  disruptionBudget: {groupBy: store, maxUnavailable: 1}\n"
    fleet.commit(manifest("1.0.0", NOW_ALL + budget))
    with fleet.store.write() as connection:
        first = t.targets.c.device_seq == fleet.devices["till-1"].seq
        connection.execute(update(t.targets).values(staged_at=fleet.now, granted_at=None))
        connection.execute(update(t.targets).where(first).values(granted_at=fleet.now))
    assert part(fleet, "till-2")["blocks"] == "The disruption budget has no room in store=s1"


def test_a_pinned_device_says_what_lifts_the_pin(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    for version in ("1.0.0", "2.0.0"):
        fleet.commit(manifest(version, NOW_ALL))
        fleet.step(6)
    act_on_device(
        fleet.store, ORGANIZATION, fleet.run().id, "till-1", Verb.ROLLBACK,
        author="ops", reason="too slow", now=fleet.now,
    )  # fmt: skip
    assert part(fleet, "till-1")["blocks"].startswith("It waits for its turn to go back to 1.0.0")
    fleet.settle()
    fleet.step(3)
    found = part(fleet, "till-1")
    assert (found["current"], found["pin"]) == ("1.0.0", "1.0.0")
    assert "a person sent it back to 1.0.0 and pinned it there" in found["blocks"]
    assert "towline retry app --device till-1" in story(fleet, "till-1")["text"]


def test_a_paused_deployment_says_who_paused_it_and_what_lifts_it(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0", CANARY))
    fleet.verb(Verb.PAUSE)
    told = deployment(fleet)
    assert told["decision"]["actions"] == ["Hold"]
    assert "Now: PausedByUser: ops: because" in told["text"]
    assert "→ `towline resume app --reason …`." in told["text"]
    assert "waits for `towline resume`, too" in told["needs"]
    assert told["holds"][0]["clearedBy"] == "resume, or its time running out"
    assert [batch["waitsFor"] for batch in told["batches"]][-1].startswith("batch ")


def test_a_deployment_that_left_git_says_what_brings_it_back(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL))
    fleet.commit()
    told = deployment(fleet)
    assert (told["status"], told["reason"]) == ("cancelled", "ManifestRemoved")
    assert told["needs"] == "one that brings the manifest back begins a new run"


def test_a_run_that_stalls_says_when_it_will_be_held(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL + "  progressDeadline: 3h\n"))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(granted_at=fleet.now, fetched_at=fleet.now))
    told = deployment(fleet)
    assert "held as DeadlineExceeded at 2027-01-15T11:00:00Z (in 3 h)" in told["text"]
    fleet.verb(Verb.PAUSE)
    assert deployment(fleet)["stallsAt"] is None


def test_a_run_that_a_window_keeps_waiting_says_when_one_opens(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.slug == "till-2")
            .values(time_zone="America/New_York")
        )
    windows = '  windows: [{allow: {days: Mon-Sun, start: "12:00", length: 2h}}]\n'
    fleet.commit(manifest("1.0.0", NOW_ALL + windows))
    fleet.step(1)
    told = deployment(fleet)
    assert told["opens"] == ["2027-01-15T12:00:00Z", "2027-01-15T17:00:00Z"]
    assert "Windows open next at 2027-01-15T12:00:00Z (in " in told["text"]
    assert "), the last of its time zones at 2027-01-15T17:00:00Z (in " in told["text"]
    fleet.now += 5 * 3600
    assert "Windows open now, the last of its time zones at" in deployment(fleet)["text"]
    fleet.commit(manifest("1.0.1", NOW_ALL))
    fleet.step(1)
    assert (deployment(fleet)["opens"], "Windows" in deployment(fleet)["text"]) == ([], False)


def test_who_rolled_a_run_back_and_why_is_told(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", NOW_ALL))
    fleet.step(4)
    assert deployment(fleet)["lastAct"] is None
    fleet.verb(Verb.ROLLBACK)
    told = deployment(fleet)
    assert told["lastAct"]["what"] == "rollback by ops"
    assert "Last act: rollback by ops, 2027-01-15T08:" in told["text"]
    assert told["lastAct"]["reason"] == "because"


def test_explaining_changes_nothing(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0", CANARY))
    fleet.now += 10 * 86400
    first = deployment(fleet)
    assert deployment(fleet) == first
    assert fleet.targets() != {}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (61, "61 s"), (3600, "1 h"), (7199, "119 min"),
     (7200, "2 h"), (86400, "1 d"), (90000, "25 h"), (10 * 86400 + 5, "10 d")],
)  # fmt: skip
def test_a_length_is_said_in_one_unit(seconds: int, words: str) -> None:
    assert about(seconds) == words


def test_every_way_a_device_can_end_has_a_way_out() -> None:
    known = set(ways_out.ENDED) | set(ways_out.SKIPPED)
    assert {reason for reasons in OUTCOMES.values() for reason in reasons} == known


def test_every_hold_has_a_way_out() -> None:
    assert set(ways_out.HOLDS) == set(GRAVEST_FIRST)
