"""One server, two organizations: each has its own git, root, key, devices, runs and people."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from tests.server.conftest import Device, Running
from tests.server.test_admin_create import CONTRACT
from tests.server.test_serve import client_of, make_fleet, serving
from towline.reconciler.server.founding import FleetSettings
from towline.reconciler.server.serve import ServeSettings
from towline.schemas import envelope
from towline.schemas.desired_state import DESIRED_STATE_TYPE
from towline.schemas.enrolment import JoinString, SessionRequest
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused

API = "/api/v1/admin/ota"
NAMES = ("acme", "beta")
MANIFEST = """apiVersion: towline/v1
kind: Deployment
metadata: {name: hello}
spec:
  targetVersion: "%s"
  filters: {labels: {site: oslo}}
  package: {url: https://cdn.example.com/hello.tar.gz, checksum: "sha256:%s"}
"""


@dataclass
class Organization:
    """One of them, as its people and devices meet the server."""

    name: str
    folder: Path
    key: PrivateKey
    client: httpx.Client
    token: str

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(f"{API}{path}", params=query, headers=self.headers())
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def join_token(self) -> str:
        body = {"labels": {"site": "oslo"}}
        answer = self.client.post(f"{API}/join-tokens", json=body, headers=self.headers())
        join = JoinString.parse(answer.json()["join"])
        assert join.organization == self.name
        return join.token

    def commit(self, version: str) -> None:
        """A Deployment, waited for until it is in force."""
        (self.folder / "hello.yaml").write_text(MANIFEST % (version, "ab" * 32))
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        for command in (("add", "."), ("commit", "-qm", version)):
            subprocess.run(["git", *who, *command], cwd=self.folder, check=True)
        until(lambda: version in self.versions())

    def versions(self) -> list[str]:
        return [run["target_version"] for run in self.get("/deployments")["deployments"]]

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Member(Device):
    """A device of an organization."""

    def __init__(self, of: Organization) -> None:
        super().__init__(cast(Running, SimpleNamespace(client=of.client)))
        self.of = of

    def session_request(self, **changes: Any) -> SessionRequest:
        request = super().session_request(**changes)
        object.__setattr__(request, "organization", self.of.name)
        return request


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Organization, Organization]]:
    """A server of acme and beta, whose first commits are in force."""
    base = tmp_path_factory.mktemp("two")
    (base / "packages").mkdir()
    for name in NAMES:
        make_fleet(base / name, name, base / f"{name}.pem")
    acme, beta = (FleetSettings(n, base / n, "", "main", base / f"{n}.pem") for n in NAMES)
    settings = ServeSettings(
        acme.organization,
        acme.repository,
        "",
        "main",
        base / "data",
        "127.0.0.1",
        0,
        is_lan=False,
        online_key=acme.online_key,
        packages=base / "packages",
        others=(beta,),
    )
    with serving(settings) as lines, client_of(settings, lines) as client:
        made = [
            Organization(
                name,
                base / name,
                PrivateKey.load(base / f"{name}.pem"),
                client,
                settings.token_file(name).read_text().strip(),
            )
            for name in NAMES
        ]
        for each in made:
            until(lambda: bool(each.get("/repository")["applied_commit"]))  # noqa: B023 at once
        assert "Towline serves acme, beta at" in lines[0]
        yield made[0], made[1]


def test_a_device_is_of_the_organization_that_its_join_token_names(
    two: tuple[Organization, Organization],
) -> None:
    acme, beta = two
    for own, other in ((acme, beta), (beta, acme)):
        device = Member(own)
        foreign = device.enrol(other.join_token(), organization=own.name)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "unknown-join-token")
        assert device.enrol(own.join_token(), organization=own.name).status_code == 201
        assert device.open().status_code == 200
        document = envelope.parse(device.poll().content)
        document.verify(DESIRED_STATE_TYPE, [own.key.public], 1)
        with pytest.raises(Refused):
            document.verify(DESIRED_STATE_TYPE, [other.key.public], 1)
    for each in two:
        (device_seen,) = each.get("/devices")["devices"]
        assert (device_seen["id"], device_seen["organization"]) == ("pi-0001", each.name)
    assert Member(acme).enrol(organization="gamma").json()["code"] == "wrong-org"


def test_each_has_its_own_root(two: tuple[Organization, Organization]) -> None:
    client = two[0].client
    for each in two:
        answer = client.get("/api/v1/ota/root/1", params={"organization": each.name})
        assert answer.content == (each.folder / "trust/root/1.json").read_bytes()
    assert client.get("/api/v1/ota/root/1").status_code == 404
    assert client.get("/api/v1/ota/root/1", params={"organization": "x"}).status_code == 404


def test_a_commit_moves_its_own_organization_alone(
    two: tuple[Organization, Organization],
) -> None:
    acme, beta = two
    beta.commit("1.0.0")
    assert acme.versions() == []
    acme.commit("2.0.0")
    assert (acme.versions(), beta.versions()) == (["2.0.0"], ["1.0.0"])
    (run,) = beta.get("/deployments")["deployments"]
    path = f"{API}/deployments/{run['deployment_id']}/pause"
    assert acme.client.post(path, headers=acme.headers()).status_code == 404
    assert acme.client.post(path, headers=beta.headers()).status_code == 200
    assert [run["status"] for run in acme.get("/deployments")["deployments"]] == ["pending"]


def test_a_call_writes_into_the_repository_of_its_organization(
    two: tuple[Organization, Organization],
) -> None:
    acme, beta = two
    body = CONTRACT | {"component": "firmware"}
    answer = beta.client.post(f"{API}/deployments", json=body, headers=beta.headers())
    assert answer.status_code == 200, answer.text
    assert answer.json()["branch"] in beta.git("branch", "--list")
    assert "towline/" not in acme.git("branch", "--list")


def test_the_audit_tells_each_what_its_own_people_did(
    two: tuple[Organization, Organization],
) -> None:
    acts = [each.get("/audit")["acts"] for each in two]
    for own in acts:
        first = own[-1]
        assert (first["person"], first["action"]) == ("towline serve", "token.create")
    assert not {act["id"] for act in acts[0]} & {act["id"] for act in acts[1]}
