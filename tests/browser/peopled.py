"""A fleet with something to see on every page: long, foreign and failing things among it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select

from tests.server.conftest import NOW, wall
from tests.server.test_admin_create import DIRECT, Fleet
from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.store import counters
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.labels import intern_labels

LONG = "Firmware für alle Geräte, مرحبا 🚀 " + "sehr-lang-" * 26
LABELS = {"site": "ירושלים-מרכז", "stage": "🚀 pilot", "shelf": "a" * 63}
DEVICES = 60
OFFER = Offer(
    tuple(
        OfferedRelease(version, sha256 * 32, 0, (f"till-{version}.tar.gz",), {}, arm=arm)
        for arm, version, sha256 in (("old", "1.9.0", "ab"), ("new", "2.0.0", "cd"))
    ),
    install_timeout_s=600,
    device_timeout_s=3600,
    health=(),
).document()
BROKEN = "apiVersion: towline/v1\nkind: Deployment\nmetadata: {name: broken}\nspec: {x: 1}\n"


@contextmanager
def _store(fleet: Fleet) -> Iterator[Store]:
    opened = open_store(fleet.store_file)
    try:
        yield opened
    finally:
        opened.close()


def people(fleet: Fleet) -> str:
    """Fill it; returns the id of the run that shows most."""
    made = fleet.made(deployment_name="Waits for its merge")
    assert made["compare"]
    fleet.commit(policy=DIRECT, broken=BROKEN)
    with _store(fleet) as store, store.write() as connection:
        labelled = intern_labels(connection, LABELS)
        connection.execute(insert(t.edge_devices), [_device(n, labelled) for n in range(DEVICES)])
        named = t.edge_devices.c.slug.startswith("dev-")
        seqs = list(connection.execute(select(t.edge_devices.c.seq).where(named)).scalars())
        states = [
            {"device_seq": seq, "last_seen": wall() - 7000 * (n % 3 == 0), "facts": {"os": LONG}}
            for n, seq in enumerate(seqs)
        ]
        connection.execute(insert(t.device_state), states)
        done = _run("till", "completed", deployment_name="Till 1", completed_at=wall() - 500)
        live = _run("till", "paused", turn=2, deployment_name=LONG, target_version="2.0.0")
        waits = _run("scale", "pending", started_at=None, reason="WaitingForStart")
        asks = _run("door", "paused", started_at=None, author="Ada <ada@example.com>")
        for each in (done, live, waits, asks):
            seq = connection.execute(insert(t.runs).returning(t.runs.c.seq), each).scalar_one()
            each["seq"] = seq
        _batches(connection, live["seq"])
        for run in (done, live):
            targets = [_target(run["seq"], seq, n, run is live) for n, seq in enumerate(seqs)]
            connection.execute(insert(t.targets), targets)
            counters.recount(connection, run["seq"])
        for run, reason, message in (
            (live, "ThresholdNotMet", "2 of 6 failed"),
            (asks, "WaitingForApproval", "0 of 2 operators approved the start"),
        ):
            connection.execute(insert(t.holds), _hold(run, reason, message))
        for kind in ("device.downloading", "device.installing", "device.rolled_back"):
            event = Event(kind, "till", run=live["id"], device="dev-0000", message=LONG)
            record(connection, "acme", wall(), event)
    return str(live["id"])


def _device(number: int, labelled: int) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "slug": f"dev-{number:04}",
        "organization": "acme",
        "device_type": "raspberry_pi",
        "label_set_id": labelled,
        "labels_git": {},
        "labels_people": {},
        "labels_join": LABELS,
        "state": "active",
        "created_at": NOW,
    }


def _run(name: str, status: str, **changes: Any) -> dict[str, Any]:
    began = wall() - 4000
    return {
        "id": uuid4(),
        "organization": "acme",
        "deployment": name,
        "revision": "ef" * 32,
        "turn": 1,
        "component": name,
        "deployment_name": f"{name} 1",
        "target_version": "1.0.0",
        "rollout_strategy": "canary",
        "rollout_percentage": 10,
        "status": status,
        "is_return": False,
        "is_retry": False,
        "start_requested": False,
        "source_commit": "12" * 20,
        "author": "Grace <grace@example.com>",
        "created_by": uuid4(),
        "metadata": {"update_package_url": f"{name}.tar.gz", "release_notes": LONG},
        "offer": OFFER,
        "perm_p": 2,
        "perm_step": 1,
        "perm_off": 0,
        "target_count": DEVICES,
        "started_at": began,
        "created_at": began,
        "updated_at": began,
    } | changes


def _batches(connection: Any, run_seq: int) -> None:
    for number, (name, state) in enumerate((("canary", "passed"), ("rest", "failed"))):
        values = {
            "run_seq": run_seq,
            "number": number,
            "name": name,
            "is_last": number == 1,
            "state": state,
            "size": 6 if number == 0 else DEVICES - 6,
            "success_threshold": 95,
            "soak_s": 600,
            "opened_at": wall() - 3900 + number * 1000,
        }
        connection.execute(insert(t.batches), values)


def _target(run_seq: int, seq: int, number: int, is_live: bool) -> dict[str, Any]:
    status, reason, message = "completed", "", None
    if is_live and number % 20 == 0:
        status, reason = "rolled_back", "HealthCheckFailed"
        message = f"probe: not healthy within 60 s (health/pos.sh exited with 3: {LONG})"
    elif is_live and number > 40:
        status, reason = "pending", "Preparing"
    ended = wall() - 3800 + number * 60 if status != "pending" else None
    return {
        "run_seq": run_seq,
        "device_seq": seq,
        "component": "till",
        "batch": 0 if number < 6 else 1,
        "status": status,
        "reason": reason,
        "error_message": message,
        "attempt": 1,
        "position": number,
        "arm": ("old", "new")[number % 2] if is_live else None,
        "from_version": "0.9.0",
        "created_at": NOW,
        "granted_at": ended and ended - 50,
        "started_at": ended and ended - 40,
        "completed_at": ended,
        "verified_at": ended if status == "completed" else None,
    }


def _hold(run: dict[str, Any], reason: str, message: str) -> dict[str, Any]:
    return {
        "organization": "acme",
        "deployment": run["deployment"],
        "run_seq": run["seq"],
        "reason": reason,
        "message": message,
        "author": "",
        "since": wall() - 300,
    }
