"""An exported inventory (`towline get devices -o json`) as a private store to plan over.

The file holds devices, not runs: what the Deployments before the commit deliver is taken as done.
Labels that Device manifests gave are known from the commit; all others count as the join token's.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, insert, update

from towline.reconciler.actions import BeginRun
from towline.reconciler.begin import begin_run
from towline.reconciler.head import Head
from towline.reconciler.scope import current_offer
from towline.reconciler.store import inventory_rows, repositories, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.private_copy import empty_copy
from towline.schemas import times
from towline.schemas.problems import Problem, Refused
from towline.schemas.states import BatchState, RunState

REMEDY = "write it with: towline get devices -o json > inventory.json"


def read_inventory(path: Path) -> list[dict[str, Any]]:
    """The devices of an exported file, as they stand in it; raises Problem."""
    try:
        with _no_collection():
            document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", remedy=REMEDY) from None
    except orjson.JSONDecodeError as error:
        raise Problem(f"{path} is not JSON: {error}", remedy=REMEDY) from None
    if not isinstance(document, dict) or document.get("kind") != "DeviceList":
        raise Problem(f"{path} is no inventory: its kind is not DeviceList", remedy=REMEDY)
    items = document.get("items")
    if not isinstance(items, list):
        raise Problem(f"{path} has no list of items", remedy=REMEDY)
    return items


def store_of(
    devices: Sequence[Mapping[str, Any]], organization: str, base: Head | None, now: int
) -> Store:
    """A private store that holds these devices, with the Deployments of `base` done.

    Raises Problem for a device that lacks what a plan needs. Whoever was online when the file was
    written is online at `now`.
    """
    store = empty_copy()
    with _no_collection():
        rows = _rows(devices, organization, base, now)
    with store.write() as connection:
        repositories.ensure(connection, organization, "", "", "", now)
        inventory_rows.fill(connection, rows)
        if base is not None:
            repositories.change(connection, organization, applied_commit=base.commit.sha)
    if base is not None:
        _complete(store, base, now)
    return store


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hundreds of thousands of values that all stay are not worth being searched for garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _rows(
    devices: Sequence[Mapping[str, Any]], organization: str, base: Head | None, now: int
) -> inventory_rows.Rows:
    from_git = {name: dict(entry.labels) for name, entry in base.devices.items()} if base else {}
    rows = inventory_rows.Rows(organization, now)
    for at, device in enumerate(devices):
        try:
            if device["organization"] == organization:
                rows.add(_device(device, from_git.get(device["id"], {}), now))
        except (KeyError, TypeError, AttributeError, ValueError, Refused) as error:
            raise Problem(
                f"device {at + 1} of the inventory lacks what a plan needs: {error}",
                remedy=REMEDY,
            ) from None
    return rows


def _device(
    device: Mapping[str, Any], from_git: Mapping[str, str], now: int
) -> inventory_rows.InventoryDevice:
    last_seen = device["lastSeen"]
    if device["online"]:
        seen_at: int | None = now
    else:
        seen_at = None if last_seen is None else times.from_rfc3339(last_seen)
    labels = dict(device["labels"])
    return inventory_rows.InventoryDevice(
        seq=int(device["seq"]),
        slug=str(device["id"]),
        device_type=str(device["deviceType"]),
        state=str(device["state"]),
        time_zone=device["timeZone"],
        last_seen=seen_at,
        labels=labels,
        labels_git={key: value for key, value in labels.items() if key in from_git},
        components=tuple(_components(device["components"])),
        is_old=device.get("verifiesSignatures") is False,
    )


def _components(
    components: Mapping[str, Mapping[str, Any]],
) -> Iterator[inventory_rows.InventoryComponent]:
    for name, part in components.items():
        pin = part["pin"] or {}
        if part["current"] is None and part["knownBad"] is None and not pin:
            continue
        yield inventory_rows.InventoryComponent(
            name=name,
            version=part["current"],
            sha256=part["sha256"],
            rollback_index=int(part["rollbackIndex"]),
            known_bad=part["knownBad"],
            pin_version=pin.get("version"),
            pin_sha256=pin.get("sha256"),
        )


def _complete(store: Store, base: Head, now: int) -> None:
    """A completed run for every Deployment of `base` that could have had one."""
    for name, manifest in sorted(base.deployments.items()):
        with store.write() as connection:
            begin_run(connection, base, manifest, BeginRun(0, is_return=False), now)
            run = runs.newest_run(connection, base.organization, name)
            assert run is not None
            offer, _ = current_offer(base, manifest, run)
            if offer is None:
                connection.execute(delete(t.runs).where(t.runs.c.seq == run.seq))
                continue
            connection.execute(
                update(t.runs)
                .where(t.runs.c.seq == run.seq)
                .values(
                    status=RunState.COMPLETED.value,
                    offer=offer.document(),
                    started_at=now,
                    completed_at=now,
                )
            )
            connection.execute(
                insert(t.batches).values(
                    run_seq=run.seq,
                    number=0,
                    name="rest",
                    is_last=True,
                    state=BatchState.PASSED.value,
                    size=0,
                    success_threshold=manifest.success_threshold,
                    soak_s=0,
                    opened_at=now,
                    ended_at=now,
                )
            )
