"""What a plan tells of a commit: changes, batches, skips, bytes, ways back, conflicts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.reconciler.simulation import (
    ORGANIZATION,
    POLL_S,
    RELEASE_KEY,
    ROOT,
    Simulation,
    checksum,
    manifest,
    statement,
)
from tests.stores import place_of
from towline.manifests.load import load
from towline.reconciler.head import CommitSeen
from towline.reconciler.head_reading import read_head
from towline.reconciler.plan import Change, DeploymentPlan, Plan
from towline.reconciler.plan_text import text
from towline.reconciler.planning import PlanOptions, make_plan
from towline.reconciler.store import device_tokens
from towline.reconciler.store import tables as t
from towline.reconciler.store.private_copy import copy_of
from towline.schemas.statement import statement_path

Files = dict[str, bytes]


def files_of(*documents: str, unsigned: tuple[str, ...] = ()) -> Files:
    """The files of a commit with these manifests, every package but `unsigned` versions signed."""
    files = {f"deployments/{n}.yaml": text.encode() for n, text in enumerate(documents)}
    for each in load(files).deployments.values():
        if each.target_version not in unsigned:
            word = statement(each.target_version, each.component)
            path = statement_path(word.component, word.version, word.file_name)
            files[path] = word.sign(RELEASE_KEY).to_bytes()
    files["trust/root/1.json"] = ROOT.sign(RELEASE_KEY)
    return files


FREEZE = """apiVersion: towline/v1
kind: Freeze
metadata: {name: feast}
spec:
  windows: [{deny: {from: 2027-01-01, to: 2027-01-31}, timeZone: UTC}]
  filters: {devices: [till-1]}
  reason: feast
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=8)


PlanOf = Callable[..., Plan]


@pytest.fixture
def plan_of(fleet: Simulation, tmp_path: Path) -> PlanOf:
    def plan_of(*documents: str, **options: Any) -> Plan:
        """The plan of a commit over what is in force."""
        files = options.pop("files", None) or files_of(
            *documents, unsigned=options.pop("unsigned", ())
        )
        read = read_head(
            files, CommitSeen("f" * 40), ORGANIZATION, last_good=fleet.head.deployments
        )
        return make_plan(
            copy_of(place_of(tmp_path / "towline.db")),
            fleet.head,
            read,
            PlanOptions(now=fleet.now, poll_interval_s=POLL_S, source="store", **options),
        )

    return plan_of


def only(plan: Plan) -> DeploymentPlan:
    (found,) = plan.deployments
    return found


def words(said: Any) -> set[str]:
    return {each.reason for each in said}


def test_a_new_deployment_is_added_with_its_batches(plan_of: PlanOf) -> None:
    told = only(
        plan_of(manifest("1.0.0", "  strategy: {type: canary, percentage: 25}\n  soak: 1h\n"))
    )
    assert told.change is Change.ADD
    assert [(b.name, b.devices, b.soak) for b in told.batches] == [
        ("canary", 2, 3600),
        ("rest", 6, 0),
    ]
    assert (told.devices, told.bytes, told.ends_as) == (8, 80, "completed")
    assert [(n.reason, n.devices) for n in told.no_way_back] == [("FirstInstall", 8)]


def test_names_are_told_on_demand(plan_of: PlanOf) -> None:
    document = manifest("1.0.0", "  order: name\n  strategy: {type: canary, percentage: 25}\n")
    assert only(plan_of(document)).batches[0].names is None
    names = only(plan_of(document, names=True)).batches[0].names
    assert names is not None
    assert (names.shown, names.left) == (("till-1", "till-2"), 0)


def test_a_new_version_tells_from_which_version_devices_come(
    fleet: Simulation, plan_of: PlanOf
) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    told = only(plan_of(manifest("2.0.0", "  strategy: canary\n")))
    assert told.change is Change.CHANGE
    assert [(v.before, v.after, v.devices) for v in told.versions] == [("1.0.0", "2.0.0", 8)]
    assert {(k.key, k.before, k.after) for k in told.keys} >= {("targetVersion", "1.0.0", "2.0.0")}
    assert not told.no_way_back
    assert told.estimate is not None
    assert told.estimate.installs == 8


def test_a_revert_is_a_return_for_which_nothing_is_downloaded(
    fleet: Simulation, plan_of: PlanOf
) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    fleet.commit(manifest("2.0.0"))
    fleet.step(6)
    told = only(plan_of(manifest("1.0.0")))
    assert told.change is Change.RETURN
    assert (told.devices, told.kept, told.bytes) == (8, 8, 0)
    assert told.batches[0].devices == 1


def test_nothing_changed_means_nothing_to_do(fleet: Simulation, plan_of: PlanOf) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    plan = plan_of(manifest("1.0.0"))
    assert only(plan).change is Change.NONE
    assert not plan.has_changes


def test_a_removal_is_told(fleet: Simulation, plan_of: PlanOf) -> None:
    fleet.commit(manifest("1.0.0"), manifest("1.0.0", name="other"))
    fleet.step(6)
    plan = plan_of(manifest("1.0.0"))
    assert {each.name: each.change for each in plan.deployments} == {
        "app": Change.NONE,
        "other": Change.REMOVE,
    }


def test_tuning_alone_is_a_change_that_moves_no_device(fleet: Simulation, plan_of: PlanOf) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    told = only(plan_of(manifest("1.0.0", "  maxConcurrent: 5\n")))
    assert (told.change, told.devices) == (Change.CHANGE, 0)
    assert [(k.key, k.before, k.after) for k in told.keys] == [("maxConcurrent", "1000", "5")]
    assert told.revision_before == told.revision_after


def test_who_is_skipped_is_grouped_by_reason(fleet: Simulation, plan_of: PlanOf) -> None:
    fleet.commit(manifest("2.0.0"))
    fleet.step(6)
    told = only(plan_of(manifest("1.5.0"), names=True))
    assert [(s.reason, s.devices) for s in told.skipped] == [("NewerInstalled", 8)]
    assert told.devices == 0


def test_a_missing_statement_is_an_error_that_says_how_to_sign(plan_of: PlanOf) -> None:
    plan = plan_of(manifest("1.0.0"), unsigned=("1.0.0",))
    (said,) = only(plan).errors
    assert said.reason == "WaitingForStatement"
    assert "towline release sign app-1.0.0.tar.gz --component app" in said.message
    assert plan.has_errors


def test_two_owners_of_one_device_are_a_conflict(plan_of: PlanOf) -> None:
    other = (
        manifest("1.0.0").replace("name: app", "name: twin") + "  filters: {devices: [till-3]}\n"
    )
    plan = plan_of(manifest("1.0.0"), other)
    assert all(words(each.errors) == {"Conflict"} for each in plan.deployments)
    assert "till-3" in plan.deployments[0].errors[0].message


def test_a_replaced_deployment_is_no_conflict(plan_of: PlanOf) -> None:
    other = manifest("1.0.0").replace("name: app", "name: twin, replaces: [app]")
    assert not plan_of(manifest("1.0.0"), other).has_errors


def test_a_manual_start_is_noted_and_passed(plan_of: PlanOf) -> None:
    told = only(plan_of(manifest("1.0.0", "  start: manual\n")))
    assert [wait.reason for wait in told.waits_for] == ["WaitingForStart"]
    assert told.devices == 8


def test_a_pause_in_git_is_noted_and_passed(plan_of: PlanOf) -> None:
    told = only(plan_of(manifest("1.0.0", "  paused: true\n")))
    assert [wait.reason for wait in told.waits_for] == ["PausedInGit"]
    assert told.devices == 8


def test_a_whole_fleet_at_once_and_no_health_check_are_warned_of(plan_of: PlanOf) -> None:
    told = only(plan_of(manifest("1.0.0", "  strategy: immediate\n")))
    assert words(told.warnings) == {"FirstBatchIsAll", "NoHealthCheck"}


def test_old_devices_that_verify_no_signature_are_warned_of(
    plan_of: PlanOf, fleet: Simulation
) -> None:
    with fleet.store.write() as connection:
        device_tokens.create(connection, ORGANIZATION, "till-3", "Ada", fleet.now)
    told = only(plan_of(manifest("1.0.0")))
    (said,) = (each for each in told.warnings if each.reason == "NoSignatureCheck")
    assert said.message == "1 of 8 devices are old ones and verify no signature"


def test_filters_that_match_nobody_are_warned_of(plan_of: PlanOf) -> None:
    told = only(plan_of(manifest("1.0.0", "  filters: {labels: {site: moon}}\n")))
    assert "NobodyMatches" in words(told.warnings)


def test_a_manifest_that_does_not_load_is_an_error_and_keeps_its_last_good_form(
    fleet: Simulation, plan_of: PlanOf
) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    plan = plan_of(files=files_of(manifest("2.0.0").replace("targetVersion", "targetVersoin")))
    assert words(plan.errors) == {"DoesNotLoad"}
    assert only(plan).change is Change.NONE


def test_more_devices_than_the_manifest_allows_is_an_error(plan_of: PlanOf) -> None:
    (said,) = only(plan_of(manifest("1.0.0", "  maxDevices: 7\n"))).errors
    assert (said.reason, "the manifest allows 7" in said.message) == ("PolicyViolated", True)
    assert not only(plan_of(manifest("1.0.0", "  maxDevices: 8\n"))).errors


def test_labels_of_the_same_commit_decide_who_is_owned(plan_of: PlanOf) -> None:
    files = files_of(manifest("1.0.0", "  filters: {labels: {site: mars}}\n"))
    files["devices.yaml"] = b"""apiVersion: towline/v1
kind: Device
metadata: {name: till-2, labels: {site: mars}}
"""
    assert only(plan_of(files=files)).devices == 1


def test_a_plan_changes_nothing_in_the_store_it_copies(fleet: Simulation, plan_of: PlanOf) -> None:
    fleet.commit(manifest("1.0.0"))
    before = fleet.targets()
    plan_of(manifest("2.0.0"))
    assert fleet.targets() == before


def test_the_arms_of_an_experiment_are_told_apart(plan_of: PlanOf) -> None:
    arm = f"{{url: app-2.0.0.tar.gz, checksum: 'sha256:{checksum('2.0.0')}'}}"
    split = (
        "  strategy: immediate\n  experiment: {arms: [{name: a, weight: 50},"
        f" {{name: b, weight: 50, targetVersion: '2.0.0', package: {arm}}}]}}\n"
    )
    signed = files_of(manifest("2.0.0"))
    plan = only(plan_of(files={**signed, **files_of(manifest("1.0.0", split))}))
    assert {move.after for move in plan.versions} == {"1.0.0", "2.0.0"}
    assert sum(move.devices for move in plan.versions) == 8


def test_who_goes_first_alone_is_not_whom_a_freeze_of_the_commit_stops(
    fleet: Simulation, plan_of: PlanOf
) -> None:
    fleet.step(2)
    freeze = FREEZE.encode()
    files = {**files_of(manifest("1.0.0", "  safeMode: true\n  order: name\n")), "f.yaml": freeze}
    alone = only(plan_of(files=files, names=True)).batches[0]
    assert alone.names is not None
    assert (alone.name, list(alone.names.shown)) == ("alone", ["till-2"])


def test_the_document_is_versioned_and_sums_up(plan_of: PlanOf) -> None:
    document: Mapping[str, Any] = plan_of(manifest("1.0.0", "  strategy: immediate\n")).document()
    assert (document["apiVersion"], document["kind"]) == ("towline/v1", "Plan")
    assert document["summary"]["add"] == 1
    assert document["summary"]["devices"] == 8
    assert document["deployments"][0]["batches"][0]["isLast"] is True


def test_a_batch_that_a_person_approves_says_so(plan_of: PlanOf) -> None:
    half = "{name: half, size: 50%, approval: manual}"
    batches = f"  strategy: {{type: batches, batches: [{half}, {{name: all, size: 100%}}]}}\n"
    plan = plan_of(manifest("1.0.0", batches))
    assert [batch.needs_approval for batch in only(plan).batches] == [True, False]
    (first, rest) = (line for line in text(plan.document()).splitlines() if "must pass" in line)
    assert first.endswith("a person approves")
    assert "approves" not in rest


def test_freezes_move_the_first_and_the_last_opening(fleet: Simulation, plan_of: PlanOf) -> None:
    assert only(plan_of(manifest("1.0.0"))).openings is None
    openings = only(
        plan_of(
            manifest("1.0.0"), files={**files_of(manifest("1.0.0")), "freeze.yaml": FREEZE.encode()}
        )
    ).openings
    assert openings is not None
    assert openings.first is not None
    assert openings.first.startswith("2027-01-15")
    assert openings.last == "2027-02-01T00:00:00Z"


def test_a_time_zone_that_is_known_no_more_has_no_opening(
    fleet: Simulation, plan_of: PlanOf
) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.slug == "till-1")
            .values(time_zone="Mars/Olympus")
        )
    windows = '  windows: [{allow: {days: Mon-Sun, start: "20:00", length: 4h}}]\n'
    openings = only(plan_of(manifest("1.0.0", windows))).openings
    assert openings is not None
    assert openings.first == openings.last == "2027-01-15T20:00:00Z"
