"""The contract's POST over a real server and a real repository: what becomes of a call in git."""

import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import yaml

from tests.manifests.signing import Signer
from tests.server.conftest import Device, Running
from tests.server.test_serve import client_of, serving, settings
from tests.stores import open_fresh
from towline.manifests.remote import Remote
from towline.reconciler.server.serve import ServeSettings
from towline.reconciler.store import people
from towline.reconciler.store.people import Role
from towline.schemas.enrolment import JoinString
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role as KeyRole
from towline.schemas.root import Root
from towline.schemas.statement import Statement

__all__ = ["settings"]

API = "/api/v1/admin/ota"
CHECKSUM = "0c" * 32
CONTRACT: dict[str, Any] = {
    "deployment_name": "Firmware Update v2.1.0",
    "target_version": "v2.1.0",
    "rollout_strategy": "canary",
    "rollout_percentage": 20,
    "device_filters": {
        "device_type": "raspberry_pi",
        "current_version": "v2.0.0",
        "version_operator": "!=",
        "status": "online",
    },
    "update_package_url": "https://cdn.example.com/updates/v2.1.0.tar.gz",
    "checksum": f"sha256:{CHECKSUM}",
    "release_notes": "Bug fixes",
}
DIRECT = """apiVersion: towline/v1
kind: Policy
metadata: {name: fleet}
spec: {apiCommits: direct}
"""


@dataclass
class Fleet:
    """A fleet repository with its server, and a person who calls it."""

    folder: Path
    client: httpx.Client
    release_key: PrivateKey
    tokens: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **texts: str) -> str:
        """By hand, and waited for until it is in force."""
        for name, text in texts.items():
            file = self.folder / f"{name}.yaml"
            file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "By hand")
        return self.wait_for_head()

    def merge(self, branch: str) -> str:
        self.git("merge", "-q", "--no-ff", "-m", "Merge", branch)
        return self.wait_for_head()

    def wait_for_head(self) -> str:
        sha = self.git("rev-parse", "main")
        self.until(lambda: self.get("/repository")["applied_commit"] == sha)
        return sha

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)

    def headers(self, role: str = "operator") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(f"{API}{path}", params=query, headers=self.headers("viewer"))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def post(self, *, role: str = "operator", key: str = "", **changes: Any) -> httpx.Response:
        """The contract's POST; a change to None leaves the field out."""
        body = {name: value for name, value in (CONTRACT | changes).items() if value is not None}
        headers = self.headers(role) | ({"Idempotency-Key": key} if key else {})
        return self.client.post(f"{API}/deployments", json=body, headers=headers)

    def made(self, **changes: Any) -> dict[str, Any]:
        answer = self.post(**changes)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def verb(self, deployment: str, verb: str) -> httpx.Response:
        return self.client.post(f"{API}/deployments/{deployment}/{verb}", headers=self.headers())

    def manifest(self, revision: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(
            self.git("show", f"{revision}:deployments/{name}.yaml")
        )
        return found

    def statement(self, version: str = "v2.1.0", **changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "organization": "acme",
            "component": "system",
            "version": version,
            "file_name": f"{version}.tar.gz",
            "sha256": CHECKSUM,
            "size": 10,
            "unpacked_size": 10,
            "files": 1,
            "content_sha256": "00" * 32,
            "built_at": 1_700_000_000,
        }
        return Statement(**(values | changes)).sign(self.release_key).document()

    @property
    def store_file(self) -> Path:
        return self.folder.parent / "data" / "towline.db"

    def enrol(self, name: str, **labels: str) -> None:
        """A device that was seen just now and runs nothing."""
        answer = self.client.post(
            f"{API}/join-tokens", json={"labels": labels}, headers=self.headers("admin")
        )
        device = Device(cast(Running, self), name)
        token = JoinString.parse(answer.json()["join"]).token
        assert device.enrol(token).status_code == 201
        assert device.open().status_code == 200
        assert device.poll().status_code == 200


@pytest.fixture
def fleet(settings: ServeSettings) -> Iterator[Fleet]:
    release_key, tokens = prepare(settings)
    assert isinstance(settings.repository, Path)
    with serving(settings) as lines, client_of(settings, lines) as client:
        made = Fleet(settings.repository, client, release_key, tokens)
        made.wait_for_head()
        yield made


def prepare(settings: ServeSettings) -> tuple[PrivateKey, dict[str, str]]:
    """A root whose release key is known here, and a token for each role."""
    release_key, root_key = PrivateKey.generate(), PrivateKey.generate()
    online = PrivateKey.load(settings.online_key)
    of_root, of_release, of_online = (
        KeyRole((key.public,), 1) for key in (root_key, release_key, online)
    )
    root = Root(1, "acme", int(time.time()) + 10**7, of_root, of_release, of_online)
    assert isinstance(settings.repository, Path)
    (settings.repository / "trust" / "root" / "1.json").write_bytes(root.sign(root_key))
    settings.data.mkdir()
    store = open_fresh(settings.data / "towline.db")
    with store.write() as connection:
        tokens = {
            role.value: people.create_admin_token(
                connection, "acme", name=f"Ada {role}", role=role, now=0
            )
            for role in Role
        }
    store.close()
    commit = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-qam", "Trust")
    subprocess.run(["git", *commit], cwd=settings.repository, check=True)
    return release_key, tokens


def test_a_call_pushes_a_branch_with_the_manifest_and_says_where_to_merge_it(fleet: Fleet) -> None:
    answer = fleet.made()
    contract = {
        "deployment_name": "Firmware Update v2.1.0",
        "target_version": "v2.1.0",
        "target_devices": 0,
        "rollout_strategy": "canary",
        "status": "pending",
    }
    assert contract.items() <= answer.items()
    assert answer["created_at"].endswith("Z")
    branch = answer["branch"]
    assert branch.startswith("towline/firmware-update-v2.1.0-")
    assert answer["compare"] == f"git -C {fleet.folder} diff main...{branch}"
    assert fleet.manifest(branch, "firmware-update-v2.1.0") == {
        "apiVersion": "towline/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "firmware-update-v2.1.0",
            "title": "Firmware Update v2.1.0",
            "labels": {"towline/api": "true"},
        },
        "spec": {
            "targetVersion": "v2.1.0",
            "releaseNotes": "Bug fixes",
            "package": {
                "url": "https://cdn.example.com/updates/v2.1.0.tar.gz",
                "checksum": f"sha256:{CHECKSUM}",
            },
            "filters": {
                "device_type": "raspberry_pi",
                "current_version": "!=v2.0.0",
                "status": "online",
            },
            "strategy": {"type": "canary", "percentage": 20},
            "start": "manual",
        },
    }
    who = fleet.git("log", "-1", "--format=%an <%ae> %cn <%ce>", branch)
    assert who == "Ada operator <ada-operator@acme> Towline <towline@acme>"
    assert fleet.git("rev-parse", f"{branch}^") == fleet.git("rev-parse", "main")
    assert fleet.git("status", "--porcelain") == ""


def test_before_its_merge_it_is_pending_and_its_start_is_409_with_the_link(fleet: Fleet) -> None:
    answer = fleet.made()
    shown = fleet.get(f"/deployments/{answer['deployment_id']}")
    assert (shown["status"], shown["reason"]) == ("pending", "WaitingForMerge")
    assert answer["compare"] in shown["message"]
    assert shown["progress"]["total_devices"] == 0
    (listed,) = fleet.get("/deployments", status="pending")["deployments"]
    assert listed["deployment_id"] == answer["deployment_id"]
    refused = fleet.verb(answer["deployment_id"], "start")
    assert (refused.status_code, refused.json()["code"]) == (409, "waiting-for-merge")
    assert answer["compare"] in refused.json()["detail"]
    assert refused.json()["compare"] == answer["compare"]


def test_the_merge_brings_the_run_of_the_id_that_was_answered(fleet: Fleet) -> None:
    answer = fleet.made(release=fleet.statement())
    before = fleet.get(f"/deployments/{answer['deployment_id']}")
    fleet.merge(answer["branch"])
    path = f"/deployments/{answer['deployment_id']}"
    fleet.until(lambda: fleet.get(path)["reason"] == "WaitingForStart")
    after = fleet.get(path)
    with sqlite3.connect(fleet.store_file) as store:
        assert store.execute("SELECT count(*) FROM merge_requests").fetchone() == (0,)
    assert before.keys() - after.keys() == {"branch", "compare"}
    assert after.keys() <= before.keys()
    assert fleet.get("/deployments")["pagination"]["total_count"] == 1
    started = fleet.verb(answer["deployment_id"], "start")
    assert started.status_code == 200
    fleet.until(lambda: fleet.get(path)["status"] == "in_progress")


def test_without_a_statement_the_start_is_409_with_the_line_that_signs(fleet: Fleet) -> None:
    answer = fleet.made()
    fleet.merge(answer["branch"])
    path = f"/deployments/{answer['deployment_id']}"
    fleet.until(lambda: fleet.get(path)["reason"] == "WaitingForStatement")
    refused = fleet.verb(answer["deployment_id"], "start")
    assert refused.status_code == 409
    line = "towline release sign v2.1.0.tar.gz --component system --version v2.1.0 --repo ."
    assert line in refused.json()["detail"]


def test_an_unmerged_one_can_be_cancelled_and_made_again(fleet: Fleet) -> None:
    answer = fleet.made()
    again = fleet.post()
    assert again.status_code == 409
    assert answer["deployment_id"] in again.json()["detail"]
    cancelled = fleet.verb(answer["deployment_id"], "cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert fleet.get("/deployments", status="pending")["deployments"] == []
    assert fleet.verb(answer["deployment_id"], "cancel").status_code == 409
    other = fleet.made()
    assert other["deployment_id"] == answer["deployment_id"]
    assert other["branch"] != answer["branch"]


def test_a_pause_before_the_merge_holds_the_run_that_comes_of_it(fleet: Fleet) -> None:
    answer = fleet.made(release=fleet.statement())
    deployment = answer["deployment_id"]
    refused = fleet.verb(deployment, "resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert "allowed: pause, cancel" in refused.json()["detail"]
    paused = fleet.verb(deployment, "pause").json()
    assert (paused["status"], paused["reason"]) == ("paused", "PausedByUser")
    assert fleet.get("/deployments", status="pending")["pagination"]["total_count"] == 0
    (listed,) = fleet.get("/deployments", status="paused")["deployments"]
    assert (listed["deployment_id"], listed["health"]) == (deployment, "paused")
    assert fleet.verb(deployment, "pause").status_code == 409
    assert fleet.verb(deployment, "start").json()["code"] == "waiting-for-merge"
    fleet.merge(answer["branch"])
    path = f"/deployments/{deployment}"
    fleet.until(lambda: "branch" not in fleet.get(path))
    fleet.until(lambda: fleet.get(path)["status"] == "paused")
    assert fleet.verb(deployment, "resume").status_code == 200
    fleet.until(lambda: fleet.get(path)["reason"] == "WaitingForStart")


def test_a_pause_before_the_merge_may_end_by_a_resume_or_a_cancel(fleet: Fleet) -> None:
    deployment = fleet.made()["deployment_id"]
    paused = fleet.verb(deployment, "pause")
    assert (paused.status_code, paused.json()["message"]) == (200, "Ada operator")
    assert fleet.verb(deployment, "resume").json()["status"] == "pending"
    assert fleet.verb(deployment, "pause").status_code == 200
    assert fleet.verb(deployment, "cancel").json()["status"] == "cancelled"
    kinds = [event["kind"] for event in fleet.get("/events")["events"]]
    assert kinds[-5:] == [
        "deployment.requested",
        "verb.pause",
        "verb.resume",
        "verb.pause",
        "verb.cancel",
    ]


def test_where_the_policy_says_so_the_tracked_branch_gets_the_commit(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    answer = fleet.made(release=fleet.statement())
    assert "branch" not in answer
    assert fleet.git("rev-parse", "main") == answer["commit"]
    assert fleet.git("status", "--porcelain") == ""
    statement = "releases/system/v2.1.0/v2.1.0.tar.gz.json"
    assert (fleet.folder / statement).is_file()
    assert fleet.verb(answer["deployment_id"], "start").status_code == 200


def test_what_a_person_has_not_committed_is_kept_or_refused(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    notes = fleet.folder / "notes.txt"
    notes.write_text("mine")
    fleet.made()
    assert notes.read_text() == "mine"
    head = fleet.git("rev-parse", "main")
    in_the_way = fleet.folder / "deployments" / "another.yaml"
    in_the_way.write_text("# mine as well")
    refused = fleet.post(deployment_name="Another", component="agent")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-writable")
    assert fleet.git("rev-parse", "main") == head
    assert in_the_way.read_text() == "# mine as well"


def test_one_of_the_same_filters_takes_the_place_of_the_earlier_one(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    first = fleet.made()
    second = fleet.made(deployment_name="Firmware Update v2.2.0", target_version="v2.2.0")
    assert second["takes_place_of"] == ["firmware-update-v2.1.0"]
    names = fleet.git("ls-tree", "--name-only", "main", "deployments/").split()
    assert names == ["deployments/firmware-update-v2.2.0.yaml"]
    fleet.until(lambda: fleet.get(f"/deployments/{first['deployment_id']}")["status"] != "pending")
    former = fleet.get(f"/deployments/{first['deployment_id']}")
    assert (former["status"], former["reason"]) == ("cancelled", "ManifestRemoved")


def test_what_was_in_force_before_is_made_again_as_its_next_turn(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    first = fleet.made()
    fleet.verb(first["deployment_id"], "cancel")
    fleet.made(deployment_name="Firmware Update v2.2.0", target_version="v2.2.0")
    again = fleet.made()
    assert again["takes_place_of"] == ["firmware-update-v2.2.0"]
    assert again["deployment_id"] != first["deployment_id"]
    shown = fleet.get(f"/deployments/{again['deployment_id']}")
    assert (shown["status"], shown["turn"], "branch" in shown) == ("pending", 1, False)


def test_earlier_ones_that_overlap_in_part_are_replaced_and_never_the_other_way_round(
    fleet: Fleet,
) -> None:
    fleet.commit(policy=DIRECT)
    fleet.made(deployment_name="one", device_filters={"device_type": "raspberry_pi"})
    two = fleet.made(deployment_name="two", device_filters={"labels": {"region": "eu"}})
    assert two["replaces"] == ["one"]
    apart = fleet.made(deployment_name="apart", device_filters={"device_type": "jetson"})
    assert apart["replaces"] == ["two"]
    again = fleet.made(
        deployment_name="one",
        device_filters={"device_type": "raspberry_pi"},
        target_version="v3",
    )
    assert again["replaces"] == ["two"]
    assert fleet.manifest("main", "two")["metadata"]["replaces"] == []


def test_one_that_was_written_by_hand_is_in_conflict(fleet: Fleet) -> None:
    text = yaml.safe_dump(
        {
            "apiVersion": "towline/v1",
            "kind": "Deployment",
            "metadata": {"name": "ours"},
            "spec": {
                "targetVersion": "1",
                "filters": {"device_type": "raspberry_pi"},
                "package": {"url": "a.tar.gz", "checksum": f"sha256:{CHECKSUM}"},
            },
        }
    )
    fleet.commit(ours=text)
    refused = fleet.post()
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert "ours, written by hand in ours.yaml" in refused.json()["detail"]
    assert fleet.post(component="agent").status_code == 200


def test_devices_that_two_filters_share_decide_whether_a_hand_written_one_conflicts(
    fleet: Fleet,
) -> None:
    text = f"""apiVersion: towline/v1
kind: Deployment
metadata: {{name: ours}}
spec:
  targetVersion: "1"
  filters: {{labels: {{region: eu}}}}
  package: {{url: a.tar.gz, checksum: "sha256:{CHECKSUM}"}}
"""
    fleet.commit(ours=text)
    fleet.enrol("pi-0001", region="us")
    answer = fleet.made()
    assert answer["target_devices"] == 1
    fleet.enrol("pi-0002", region="eu")
    refused = fleet.post(deployment_name="Another")
    assert refused.status_code == 409
    assert "ours, written by hand" in refused.json()["detail"]


def test_manual_names_its_devices_and_more_are_named_later_by_either_id(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    fleet.enrol("pi-0001")
    fleet.enrol("pi-0002")
    answer = fleet.made(
        rollout_strategy="manual",
        rollout_percentage=None,
        device_filters={"device_ids": ["pi-0001"]},
        release=fleet.statement(),
    )
    assert answer["target_devices"] == 1
    path = f"/deployments/{answer['deployment_id']}"
    assert fleet.verb(answer["deployment_id"], "start").status_code == 200
    fleet.until(lambda: len(fleet.get(path)["devices"]) == 1)
    uuid = fleet.get("/devices/pi-0002")["uuid"]
    assert fleet.verb(answer["deployment_id"], f"devices/{uuid}/start").status_code == 200
    fleet.until(lambda: len(fleet.get(path)["devices"]) == 2)
    shown = fleet.get(path)
    figures = ("completed", "failed", "in_progress", "pending", "skipped")
    assert sum(shown["progress"][figure] for figure in figures) == 2
    assert {device["device_id"] for device in shown["devices"]} == {"pi-0001", "pi-0002"}


def test_a_repository_elsewhere_is_pushed_to_and_fetched_at_once(settings: ServeSettings) -> None:
    release_key, tokens = prepare(settings)
    assert isinstance(settings.repository, Path)
    folder = settings.repository
    (folder / "policy.yaml").write_text(DIRECT)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (
        ("add", "."),
        ("commit", "-qm", "Policy"),
        ("config", "receive.denyCurrentBranch", "updateInstead"),
    ):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    elsewhere = replace(settings, repository=Remote(f"file://{folder}"), git_interval_s=3600)
    with serving(elsewhere) as lines, client_of(elsewhere, lines) as client:
        fleet = Fleet(folder, client, release_key, tokens)
        fleet.wait_for_head()
        answer = fleet.made()
        assert fleet.git("rev-parse", "main") == answer["commit"]
        fleet.until(lambda: fleet.get("/repository")["applied_commit"] == answer["commit"])


def test_where_people_sign_commits_a_call_makes_a_branch_whatever_the_policy_says(
    settings: ServeSettings, tmp_path: Path
) -> None:
    release_key, tokens = prepare(settings)
    assert isinstance(settings.repository, Path)
    ada = Signer.make(tmp_path, "ada")
    signers = tmp_path / "signers"
    signers.write_text(f"ada@acme {ada.public}\n")
    (settings.repository / "policy.yaml").write_text(DIRECT)
    subprocess.run(["git", "add", "."], cwd=settings.repository, check=True)
    ada.commit(settings.repository)
    signed = replace(settings, allowed_signers=signers)
    with serving(signed) as lines, client_of(signed, lines) as client:
        fleet = Fleet(settings.repository, client, release_key, tokens)
        fleet.wait_for_head()
        head = fleet.git("rev-parse", "main")
        assert fleet.made()["branch"].startswith("towline/")
        assert fleet.git("rev-parse", "main") == head


def test_the_same_call_is_409_while_its_run_lives_and_then_the_next_turn(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    first = fleet.made(release=fleet.statement())
    again = fleet.post()
    assert again.status_code == 409
    assert first["deployment_id"] in again.json()["detail"]
    assert fleet.verb(first["deployment_id"], "cancel").status_code == 200
    head = fleet.git("rev-parse", "main")
    second = fleet.made()
    assert second["deployment_id"] != first["deployment_id"]
    assert fleet.git("rev-parse", "main") == head
    path = f"/deployments/{second['deployment_id']}"
    fleet.until(lambda: fleet.get(path)["reason"] == "WaitingForStart")
    shown = fleet.get(path)
    assert (shown["name"], shown["status"], shown["turn"]) == (first["name"], "pending", 1)


def test_the_same_release_by_another_strategy_is_a_deployment_of_its_own(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    first = fleet.made()
    fleet.verb(first["deployment_id"], "cancel")
    second = fleet.made(rollout_strategy="immediate")
    assert second["takes_place_of"] == [first["name"]]
    assert second["name"].startswith(f"{first['name']}-")


def test_a_call_is_repeated_by_its_key_without_a_second_branch(fleet: Fleet) -> None:
    first = fleet.made(key="k1")
    assert fleet.made(key="k1") == first
    assert len(fleet.git("branch", "--list", "towline/*").split()) == 1
    other = fleet.post(key="k1", release_notes="Others")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key")


def test_a_start_that_is_automatic_needs_no_verb(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    answer = fleet.made(start="automatic", release=fleet.statement())
    path = f"/deployments/{answer['deployment_id']}"
    fleet.until(lambda: fleet.get(path)["status"] == "in_progress")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"deployment_name": None}, "deployment_name"),
    ({"deployment_name": ""}, "deployment_name"),
    ({"deployment_name": "a\nb"}, "deployment_name"),
    ({"deployment_name": "a" * 256}, "deployment_name"),
    ({"target_version": 2.1}, "target_version"),
    ({"target_version": "two words"}, "target_version"),
    ({"rollout_strategy": "batches"}, "rollout_strategy"),
    ({"rollout_percentage": 0}, "rollout_percentage"),
    ({"rollout_percentage": 101}, "rollout_percentage"),
    ({"rollout_percentage": "20"}, "rollout_percentage"),
    ({"device_filters": {"version_operator": "~"}}, "device_filters.version_operator"),
    ({"device_filters": {"colour": "red"}}, "device_filters.colour"),
    ({"device_filters": {"status": "asleep"}}, "device_filters.status"),
    ({"device_filters": {"group": "ghosts"}}, "device_filters.group"),
    ({"device_filters": {"device_ids": ["../x"]}}, "device_filters.device_ids"),
    ({"device_filters": {"current_version": "x y"}}, "device_filters.current_version"),
    (
        {"device_filters": {"current_version": "blue", "version_operator": "<"}},
        "device_filters.current_version",
    ),
    ({"device_filters": {"labels": {"<script>": "x"}}}, "device_filters.labels"),
    ({"rollout_strategy": "manual"}, "device_filters.device_ids"),
    ({"update_package_url": "http://cdn.example.com/a.tar.gz"}, "update_package_url"),
    ({"checksum": "md5:1"}, "checksum"),
    ({"checksum": None}, "checksum"),
    ({"release_notes": "a" * 10_001}, "release_notes"),
    ({"component": "A B"}, "component"),
    ({"start": "now"}, "start"),
    ({"release": {"payload": "x"}}, "release"),
    ({"colour": "red"}, "colour"),
]


def test_bad_input_is_422_and_names_the_contracts_field(fleet: Fleet) -> None:
    for changes, named in BAD:
        refused = fleet.post(**changes)
        assert refused.status_code == 422, (changes, refused.text)
        assert refused.headers["content-type"] == "application/problem+json"
        assert named in refused.json()["detail"], (changes, refused.json())
    assert fleet.git("branch", "--list", "towline/*") == ""


def test_a_statement_that_does_not_fit_is_422(fleet: Fleet) -> None:
    for release, words in (
        (fleet.statement("v9"), "version"),
        (fleet.statement(sha256="11" * 32), "checksum"),
        (fleet.statement(organization="other"), "organization"),
    ):
        refused = fleet.post(release=release)
        assert refused.status_code == 422
        assert words in refused.json()["detail"]


def test_what_the_policy_forbids_is_422(fleet: Fleet) -> None:
    policy = DIRECT.replace("apiCommits: direct", "packageHosts: [ours.example.com]")
    fleet.commit(policy=policy)
    refused = fleet.post()
    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert fault["field"] == "update_package_url"
    assert "cdn.example.com" in fault["message"]


def test_only_who_may_act_makes_deployments(fleet: Fleet) -> None:
    for role in ("viewer", "planner"):
        refused = fleet.post(role=role)
        assert (refused.status_code, refused.json()["code"]) == (403, "role")


def test_names_of_any_script_and_length_find_a_name_in_git(fleet: Fleet) -> None:
    for title in ("a" * 255, "تحديث 🚀", "<script>alert(1)</script>"):
        answer = fleet.made(deployment_name=title, component=f"c{len(title)}")
        assert fleet.manifest(answer["branch"], answer["name"])["metadata"]["title"] == title
        assert fleet.get(f"/deployments/{answer['deployment_id']}")["deployment_name"] == title
