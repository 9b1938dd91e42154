"""Plans over the API: who may ask, what is answered, what is recorded."""

from typing import Any

import httpx
import pytest

from tests.server.conftest import ORGANIZATION, Device, Running
from towline.reconciler.server import plans
from towline.reconciler.store.plans import recorded_targets
from towline.schemas.statement import Statement, statement_path

MANIFEST = """apiVersion: towline/v1
kind: Deployment
metadata: {name: app}
spec:
  component: app
  targetVersion: "1.0.0"
  package: {url: app-1.0.0.tar.gz, checksum: "sha256:%s"}
""" % ("ab" * 32)


def files(server: Running) -> dict[str, str]:
    word = Statement(
        organization=ORGANIZATION,
        component="app",
        version="1.0.0",
        file_name="app-1.0.0.tar.gz",
        sha256="ab" * 32,
        size=10,
        unpacked_size=10,
        files=1,
        content_sha256="cd" * 32,
        built_at=1_790_000_000,
    )
    path = statement_path("app", "1.0.0", "app-1.0.0.tar.gz")
    return {
        "deployments/app.yaml": MANIFEST,
        path: word.sign(server.release_key).to_bytes().decode(),
        "trust/root/1.json": server.root_bytes.decode(),
    }


def ask(server: Running, role: str = "planner", **more: Any) -> httpx.Response:
    head = {"commit": "f" * 40, "files": files(server)}
    return server.client.post(
        "/api/v1/admin/ota/plan", json={"head": head} | more, headers=server.admin(role)
    )


def targets(server: Running, revision: str) -> int | None:
    with server.store.read() as connection:
        return recorded_targets(connection, ORGANIZATION, revision, "app")


def test_a_planner_gets_a_plan_and_a_viewer_does_not(server: Running, enrolled: Device) -> None:
    assert ask(server, "viewer").status_code == 403
    document = ask(server).json()
    assert document["kind"] == "Plan"
    assert document["summary"]["add"] == 1
    assert document["deployments"][0]["devices"] == 1


def test_figures_are_kept_only_when_asked(server: Running, enrolled: Device) -> None:
    document = ask(server).json()
    revision = document["deployments"][0]["revisionAfter"]
    assert targets(server, revision) is None
    assert ask(server, record=True).json()["recorded"] == ["app"]
    assert targets(server, revision) == 1


def test_the_live_store_is_left_alone(server: Running, enrolled: Device) -> None:
    ask(server)
    with server.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 0


def test_a_second_plan_at_the_same_time_is_refused(server: Running) -> None:
    with plans._rehearsing:
        answer = ask(server)
    assert answer.status_code == 503
    assert answer.json()["code"] == "busy"


def test_a_plan_that_takes_too_long_ends_with_a_problem_and_makes_way(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "TIME_LIMIT_S", 0)
    answer = ask(server)
    assert (answer.status_code, answer.json()["code"]) == (422, "too-long")
    monkeypatch.setattr(plans, "TIME_LIMIT_S", 60)
    assert ask(server).status_code == 200


def test_more_deployments_than_a_plan_plays_are_refused(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "DEPLOYMENTS_LIMIT", 2)
    many = files(server)
    for n in range(2):
        many[f"deployments/{n}.yaml"] = MANIFEST.replace("name: app", f"name: app-{n}")
    answer = ask(server, head={"commit": "f" * 40, "files": many})
    assert (answer.status_code, answer.json()["code"]) == (422, "too-much")
    assert "moves 3 Deployments" in answer.json()["detail"]


def test_a_plan_ends_with_the_server(server: Running, enrolled: Device) -> None:
    server.doorbell.is_closed = True
    answer = ask(server)
    assert (answer.status_code, answer.json()["code"]) == (503, "stopping")


def test_a_plan_with_errors_is_not_recorded(server: Running, enrolled: Device) -> None:
    broken = files(server)
    broken.pop(statement_path("app", "1.0.0", "app-1.0.0.tar.gz"))
    document = ask(server, head={"commit": "f" * 40, "files": broken}, record=True).json()
    assert document["summary"]["hasErrors"]
    assert document["recorded"] == []


def test_what_is_no_commit_is_refused(server: Running) -> None:
    assert ask(server, head={"commit": "main", "files": {}}).status_code == 422
