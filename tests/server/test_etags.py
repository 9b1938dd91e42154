"""ETags of deployments and devices, and acts that hold only while nobody else acted."""

from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from tests.server.changing import waiting
from tests.server.conftest import AddRun, Device, Running, add_batch, add_target
from tests.server.test_admin import API, get
from tests.server.test_device import device_seq
from towline.reconciler.store import tables as t

RUN = "/deployments/hello"
DEVICE = "/devices/pi-0001"


@pytest.fixture
def busy(server: Running, enrolled: Device, add_run: AddRun) -> Running:
    """A run in progress with one device that failed."""
    run = add_run(target_count=2)
    add_batch(server, run)
    add_target(server, run, device_seq(server), status="failed", reason="HealthCheckFailed")
    return server


def post(server: Running, path: str, etag: str | None, **body: Any) -> httpx.Response:
    headers = server.admin("operator") | ({"If-Match": etag} if etag else {})
    return server.client.post(API + path, json=body, headers=headers)


def etag_of(server: Running, path: str) -> str:
    return str(get(server, path).headers["etag"])


def test_who_saw_another_state_does_not_act(busy: Running) -> None:
    seen = etag_of(busy, RUN)
    paused = post(busy, f"{RUN}/pause", seen)
    assert paused.status_code == 200
    stale = post(busy, f"{RUN}/cancel", seen)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert stale.headers["content-type"] == "application/problem+json"
    assert get(busy, RUN).json()["status"] == "paused"
    assert paused.headers["etag"] == stale.json()["etag"] == etag_of(busy, RUN)
    assert post(busy, f"{RUN}/resume", f'"x", {stale.json()["etag"]}').status_code == 200
    assert post(busy, f"{RUN}/pause", "*").status_code == 200
    assert post(busy, f"{RUN}/resume", None).status_code == 200


def test_a_refused_act_changes_nothing_and_is_no_deed(busy: Running) -> None:
    assert post(busy, f"{RUN}/cancel", '"stale"').status_code == 412
    with busy.store.read() as connection:
        assert not connection.execute(t.audit.select()).all()
    assert get(busy, RUN).json()["status"] == "in_progress"


def test_progress_alone_is_no_other_state(busy: Running) -> None:
    seen = etag_of(busy, RUN)
    with busy.store.write() as connection:
        connection.execute(update(t.runs).values(target_count=9, message="batch 1 of 3"))
    assert etag_of(busy, RUN) == seen
    with busy.store.write() as connection:
        connection.execute(update(t.batches).values(state="passed"))
    assert etag_of(busy, RUN) != seen


def test_an_act_on_a_device_goes_by_the_device(busy: Running, enrolled: Device) -> None:
    seen = etag_of(busy, DEVICE)
    enrolled.report(enrolled.facts())
    assert etag_of(busy, DEVICE) == seen, "facts and presence are no part of it"
    retry = f"{RUN}/devices/pi-0001/retry"
    assert post(busy, retry, etag_of(busy, RUN)).status_code == 412
    assert post(busy, retry, seen).status_code == 200
    assert post(busy, retry, seen).status_code == 412


def test_what_waits_for_its_merge_has_one_too(busy: Running) -> None:
    with busy.store.write() as connection:
        connection.execute(insert(t.merge_requests), waiting("later"))
    seen = etag_of(busy, "/deployments/later")
    assert post(busy, "/deployments/later/pause", seen).status_code == 200
    assert post(busy, "/deployments/later/cancel", seen).status_code == 412
