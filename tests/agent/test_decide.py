"""The agent's decision: a table of cases, then rules that hold over all kinds of snapshots."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.agent.actions import (
    Abandon,
    Begin,
    Confirm,
    GiveUp,
    Hold,
    Perform,
    ReportVersions,
)
from towline.agent.attempt import (
    RUNS_LIMIT,
    UNTOUCHED,
    AttemptRecord,
    Key,
    KnownBad,
    Outcome,
    Step,
)
from towline.agent.decide import decide
from towline.agent.gate import ANSWER_AGE_LIMIT_S
from towline.agent.layout import Release, release_name
from towline.agent.observe import ComponentSeen, Snapshot
from towline.schemas.desired_state import ComponentAction, ComponentWanted, DesiredState
from towline.schemas.envelope import Envelope
from towline.schemas.states import TargetState

SEALED = Envelope("t", b"", (b"",))


def wanted(version: str = "1", **changes: Any) -> ComponentWanted:
    values: dict[str, Any] = {
        "name": "app",
        "action": ComponentAction.INSTALL,
        "version": version,
        "sha256": version.zfill(64),
        "size": 1,
        "urls": (),
        "deployment": "d",
        "revision": "0" * 64,
        "attempt": 1,
        "commit": "c",
        "statement": SEALED,
    }
    return ComponentWanted(**values | changes)


def document(*components: ComponentWanted, sequence: int = 5) -> DesiredState:
    return DesiredState("acme", "pi", "0" * 64, "n", sequence, 0, 1, 1, 300, components)


def release(version: str) -> Release:
    return Release(release_name(version, version.zfill(64)), version, version.zfill(64), 0)


def key(of: ComponentWanted) -> Key:
    return Key(of.name, of.deployment, of.revision, of.attempt, of.commit)


def outcome(of: ComponentWanted, state: TargetState, reason: str = "") -> Outcome:
    return Outcome(key(of), of.version, of.sha256, state, reason)


def record(of: ComponentWanted, step: Step, **changes: Any) -> AttemptRecord:
    name = release_name(of.version, of.sha256)
    made = AttemptRecord(key(of), of.version, of.sha256, name, 0, step)
    return dataclasses.replace(made, **changes)


def snapshot(*components: ComponentWanted, **changes: Any) -> Snapshot:
    values: dict[str, Any] = {"document": document(*components), "answer_age_s": 0.0}
    return Snapshot(**values | changes)


def seen(**of: Any) -> dict[str, ComponentSeen]:
    return {"app": ComponentSeen(**of)}


def test_without_a_document_it_waits_for_one() -> None:
    (hold,) = decide(Snapshot())
    assert isinstance(hold, Hold)
    assert hold.reason == "WaitingForDocument"


def test_what_is_not_here_is_downloaded() -> None:
    assert decide(snapshot(wanted())) == [Begin(wanted(), Step.DOWNLOAD)]


def test_a_release_that_is_still_here_is_not_downloaded() -> None:
    here = seen(current=release("2"), previous=release("1"), staged=(release("1"), release("2")))
    assert decide(snapshot(wanted("1"), components=here)) == [Begin(wanted("1"), Step.SAVE)]


def test_a_staged_release_of_another_checksum_does_not_count() -> None:
    other = dataclasses.replace(release("1"), sha256="f" * 64)
    found = decide(snapshot(wanted("1"), components=seen(staged=(other,))))
    assert found == [Begin(wanted("1"), Step.DOWNLOAD)]


def test_what_runs_already_is_confirmed_once() -> None:
    runs = seen(current=release("1"), staged=(release("1"),))
    assert decide(snapshot(wanted(), components=runs)) == [Confirm(wanted())]
    told = seen(current=release("1"), outcome=outcome(wanted(), TargetState.COMPLETED))
    assert decide(snapshot(wanted(), components=told)) == []
    again = wanted(attempt=2)
    assert decide(snapshot(again, components=told)) == [Confirm(again)]


@pytest.mark.parametrize("state", [TargetState.FAILED, TargetState.ROLLED_BACK])
def test_an_attempt_that_failed_is_not_repeated_until_another_is_asked_for(
    state: TargetState,
) -> None:
    failed = seen(outcome=outcome(wanted(), state, "InstallFailed"))
    (hold,) = decide(snapshot(wanted(), components=failed))
    assert isinstance(hold, Hold)
    assert hold.reason == "InstallFailed"
    for another in (wanted(attempt=2), wanted(deployment="e")):
        assert decide(snapshot(another, components=failed)) == [Begin(another, Step.DOWNLOAD)]


def test_a_known_bad_package_waits_for_another_deployment_or_attempt() -> None:
    bad = frozenset({KnownBad(wanted().sha256, "d", 1)})
    (hold,) = decide(snapshot(wanted(), known_bad=bad))
    assert isinstance(hold, Hold)
    assert hold.reason == "KnownBad"
    for another in (wanted(attempt=2), wanted(deployment="e")):
        assert decide(snapshot(another, known_bad=bad)) == [Begin(another, Step.DOWNLOAD)]


def test_one_component_is_changed_at_a_time() -> None:
    first, second = wanted(), wanted(name="other")
    begin, hold = decide(snapshot(first, second))
    assert begin == Begin(first, Step.DOWNLOAD)
    assert isinstance(hold, Hold)
    assert (hold.component, hold.reason) == ("other", "OtherInstallRunning")


def test_versions_are_told_after_the_next_document_only() -> None:
    keep = wanted(action=ComponentAction.KEEP)
    assert decide(snapshot(keep, versions_owed_after=5)) == []
    assert decide(snapshot(keep, versions_owed_after=4)) == [ReportVersions()]


def test_an_install_needs_a_fresh_answer_before_its_first_irreversible_step() -> None:
    ready, staged = record(wanted(), Step.SAVE), seen(staged=(release("1"),))
    for age in (None, ANSWER_AGE_LIMIT_S + 1.0):
        (hold,) = decide(snapshot(wanted(), components=staged, answer_age_s=age))
        assert isinstance(hold, Hold)
        assert hold.reason == "WaitingForServer"
        assert decide(snapshot(wanted(), attempt=ready, answer_age_s=age)) == [Abandon("app")]
    fresh = snapshot(wanted(), attempt=ready, answer_age_s=float(ANSWER_AGE_LIMIT_S))
    assert decide(fresh) == [Perform("app", Step.SAVE)]
    stopped = snapshot(wanted(), attempt=dataclasses.replace(ready, runs=1), answer_age_s=None)
    (hold,) = decide(stopped)
    assert isinstance(hold, Hold), "its runs are not forgotten"
    assert hold.reason == "WaitingForServer"


@pytest.mark.parametrize("step", sorted(UNTOUCHED))
@pytest.mark.parametrize(
    "instead",
    [
        (),
        (wanted(action=ComponentAction.KEEP),),
        (wanted(attempt=2),),
        (wanted("2"),),
        (wanted(name="other"),),
    ],
)
def test_what_has_changed_nothing_is_abandoned_when_it_is_no_longer_wanted(
    step: Step, instead: tuple[ComponentWanted, ...]
) -> None:
    under_way = record(wanted(), step)
    assert decide(snapshot(*instead, attempt=under_way)) == [Abandon("app")]


def test_a_grant_that_comes_or_goes_while_it_is_fetched_changes_nothing_until_it_is_staged() -> (
    None
):
    for step in (Step.DOWNLOAD, Step.STAGE):
        for action in set(ComponentAction) - {ComponentAction.KEEP}:
            for is_preparation in (False, True):
                under_way = record(wanted(), step, is_preparation=is_preparation)
                now = snapshot(wanted(action=action), attempt=under_way)
                assert decide(now) == [Perform("app", step)]
    begun = record(wanted(), Step.SAVE)
    for action in set(ComponentAction) - {ComponentAction.INSTALL}:
        assert decide(snapshot(wanted(action=action), attempt=begun)) == [Abandon("app")]


@pytest.mark.parametrize("step", sorted(set(Step) - UNTOUCHED))
def test_what_was_begun_is_finished_whatever_is_wanted_meanwhile(step: Step) -> None:
    under_way = record(wanted(), step)
    for now in (
        snapshot(wanted(action=ComponentAction.KEEP), attempt=under_way),
        snapshot(attempt=under_way),
        Snapshot(attempt=under_way),
    ):
        assert decide(now) == [Perform("app", step)]


@pytest.mark.parametrize(("step", "limit"), sorted(RUNS_LIMIT.items()))
def test_a_step_that_never_comes_to_an_end_is_given_up(step: Step, limit: int) -> None:
    tried = record(wanted(), step, runs=limit - 1)
    assert decide(snapshot(wanted(), attempt=tried)) == [Perform("app", step)]
    used_up = dataclasses.replace(tried, runs=limit)
    assert decide(snapshot(wanted(), attempt=used_up)) == [GiveUp("app", step)]


VERSIONS = st.sampled_from(["1", "2", "3"])
WANTED = st.builds(
    wanted,
    VERSIONS,
    name=st.sampled_from(["app", "other"]),
    action=st.sampled_from(ComponentAction),
    deployment=st.sampled_from(["d", "e"]),
    attempt=st.integers(1, 2),
)
RELEASES = st.builds(release, VERSIONS)
ENDED = st.sampled_from([TargetState.COMPLETED, TargetState.FAILED, TargetState.ROLLED_BACK])
SEEN = st.builds(
    ComponentSeen,
    current=st.none() | RELEASES,
    previous=st.none() | RELEASES,
    staged=st.lists(RELEASES, max_size=3).map(tuple),
    outcome=st.none() | st.builds(outcome, WANTED, ENDED, st.just("InstallFailed")),
)
SNAPSHOTS = st.builds(
    Snapshot,
    document=st.none()
    | st.lists(WANTED, max_size=2, unique_by=lambda each: each.name).map(
        lambda components: document(*components)
    ),
    components=st.dictionaries(st.sampled_from(["app", "other"]), SEEN),
    attempt=st.none()
    | st.builds(
        record, WANTED, st.sampled_from(Step), runs=st.integers(0, 3), is_preparation=st.booleans()
    ),
    known_bad=st.frozensets(
        st.builds(KnownBad, VERSIONS.map(lambda v: v.zfill(64)), st.just("d"), st.integers(1, 2))
    ),
    versions_owed_after=st.none() | st.integers(0, 10),
    answer_age_s=st.none() | st.floats(0, 2000),
)


@given(SNAPSHOTS)
def test_at_most_one_thing_is_begun_and_never_beside_another(now: Snapshot) -> None:
    actions = decide(now)
    assert decide(now) == actions
    begun = [action for action in actions if isinstance(action, Begin | Perform)]
    assert len(begun) <= 1
    if now.attempt is not None:
        assert not any(isinstance(action, Begin | Confirm) for action in actions)
        assert any(not isinstance(action, ReportVersions) for action in actions)


@given(SNAPSHOTS)
def test_nothing_begins_that_is_not_asked_for_or_that_failed_in_this_attempt(
    now: Snapshot,
) -> None:
    for action in decide(now):
        if not isinstance(action, Begin):
            continue
        of = action.wanted
        assert now.document is not None
        assert of in now.document.components
        assert of.action is not ComponentAction.KEEP
        assert KnownBad(of.sha256, of.deployment, of.attempt) not in now.known_bad
        ended = now.component(of.name).outcome
        if ended and (ended.key.deployment, ended.key.attempt) == (of.deployment, of.attempt):
            assert ended.sha256 != of.sha256 or ended.state is TargetState.COMPLETED


@given(SNAPSHOTS)
def test_a_device_that_is_told_to_keep_changes_nothing(now: Snapshot) -> None:
    if now.document is None or now.attempt is not None:
        return
    keeps = tuple(
        dataclasses.replace(each, action=ComponentAction.KEEP) for each in now.document.components
    )
    calm = dataclasses.replace(now, document=document(*keeps))
    assert [action for action in decide(calm) if not isinstance(action, ReportVersions)] == []


@given(SNAPSHOTS)
def test_every_component_that_is_not_as_wanted_is_acted_on_or_held_with_a_reason(
    now: Snapshot,
) -> None:
    if now.document is None or now.attempt is not None:
        return
    named = set()
    for action in decide(now):
        if isinstance(action, Begin | Confirm):
            named.add(action.wanted.name)
        elif isinstance(action, Hold):
            assert action.reason
            named.add(action.component)
    for of in now.document.components:
        current = now.component(of.name).current
        is_as_wanted = current is not None and current.sha256 == of.sha256
        if of.action in (ComponentAction.INSTALL, ComponentAction.ROLLBACK) and not is_as_wanted:
            assert of.name in named
