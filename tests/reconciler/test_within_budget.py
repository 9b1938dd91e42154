"""The disruption budget over a real store: who is away, who is counted, who comes next."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement, select, update

from tests.reconciler.rows import add_run, add_target
from tests.reconciler.simulation import ORGANIZATION, Simulation
from towline.manifests.model import Budget
from towline.reconciler.store import budgets
from towline.reconciler.store import tables as t
from towline.reconciler.within_budget import groups_in_full, within_budget

ONE_PER_STORE = Budget("store", 1)


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """Six devices in three stores, one without a store; app and db are selected, none granted."""
    fleet = Simulation(tmp_path, devices=0)
    for n in range(6):
        fleet.enrol(f"till-{n}", store=f"s{n % 3}", till=str(n))
    fleet.enrol("kiosk")
    with fleet.store.write() as connection:
        for name in ("app", "db"):
            run_seq = add_run(connection, name)
            for device in fleet.devices.values():
                add_target(connection, run_seq, device.seq, component=name)
    return fleet


def set_target(fleet: Simulation, device: str, name: str = "app", **values: Any) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.targets)
            .where(
                t.targets.c.run_seq == fleet.run(name).seq,
                t.targets.c.device_seq == fleet.devices[device].seq,
            )
            .values(**{"granted_at": fleet.now} | values)
        )


def away(fleet: Simulation) -> dict[str, int]:
    with fleet.store.read() as connection:
        return budgets.away_by_group(connection, ORGANIZATION, "store")


def chosen(
    fleet: Simulation, budget: Budget = ONE_PER_STORE, limit: int = 10, page: int = 1000
) -> list[str]:
    """The devices of app, by name, that the budget lets go now."""
    names = {device.seq: device.name for device in fleet.devices.values()}
    with fleet.store.read() as connection:

        def pages(where: ColumnElement[bool]) -> Iterable[Sequence[int]]:
            found = connection.execute(
                select(t.targets.c.device_seq)
                .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
                .where(
                    t.targets.c.run_seq == fleet.run().seq,
                    t.targets.c.status == "pending",
                    t.targets.c.granted_at.is_(None),
                    where,
                )
                .order_by(t.edge_devices.c.slug)
            )
            return found.scalars().partitions(page)

        devices = within_budget(connection, ORGANIZATION, budget, pages, limit)
        return [names[device] for device in devices]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_one_device_of_each_store_goes_first_and_those_without_a_store_all_go(
    fleet: Simulation, page: int
) -> None:
    assert chosen(fleet, page=page) == ["kiosk", "till-0", "till-1", "till-2"]


@pytest.mark.parametrize("name", ["app", "db"])
@pytest.mark.parametrize("status", ["pending", "downloading", "installing", "verifying"])
def test_a_grant_of_any_deployment_makes_its_store_full(
    fleet: Simulation, name: str, status: str
) -> None:
    set_target(fleet, "till-3", name, status=status)
    assert chosen(fleet) == ["kiosk", "till-1", "till-2"]


def test_a_device_is_away_until_its_success_is_verified(fleet: Simulation) -> None:
    set_target(fleet, "till-0", status="completed")
    assert away(fleet) == {"s0": 1}
    set_target(fleet, "till-0", status="completed", verified_at=fleet.now)
    assert away(fleet) == {}


@pytest.mark.parametrize("status", ["failed", "rolled_back", "skipped"])
def test_a_device_with_another_verdict_is_not_away(fleet: Simulation, status: str) -> None:
    set_target(fleet, "till-0", status=status)
    assert away(fleet) == {}


def test_what_is_selected_and_not_granted_is_not_away(fleet: Simulation) -> None:
    assert away(fleet) == {}


def test_a_device_with_two_grants_counts_once(fleet: Simulation) -> None:
    set_target(fleet, "till-0", "app")
    set_target(fleet, "till-0", "db")
    assert away(fleet) == {"s0": 1}
    assert chosen(fleet, Budget("store", 2)) == ["kiosk", "till-1", "till-2", "till-3", "till-4",
                                                 "till-5"]  # fmt: skip


def test_a_store_with_several_sets_of_labels_is_one_group(fleet: Simulation) -> None:
    set_target(fleet, "till-0")
    set_target(fleet, "till-3")
    set_target(fleet, "till-1")
    set_target(fleet, "kiosk")
    assert away(fleet) == {"s0": 2, "s1": 1}


def test_another_organizations_devices_do_not_count(fleet: Simulation) -> None:
    set_target(fleet, "till-0")
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.slug.in_(["till-0", "till-4"]))
            .values(organization="other")
        )
    assert away(fleet) == {}
    with fleet.store.read() as connection:
        sizes = budgets.sizes_by_group(connection, ORGANIZATION, "store", ["s0", "s1"])
    assert sizes == {"s0": 1, "s1": 1}


def test_a_share_is_of_the_stores_active_devices_whatever_their_other_labels(
    fleet: Simulation,
) -> None:
    half = Budget("store", 50, is_share=True)
    for n in range(4):
        fleet.enrol(f"more-{n}", store="s0")
    with fleet.store.write() as connection:
        revoked = t.edge_devices.c.slug == "more-3"
        connection.execute(update(t.edge_devices).where(revoked).values(state="revoked"))
    assert chosen(fleet, half) == ["kiosk", "till-0", "till-1", "till-2", "till-3"]
    set_target(fleet, "till-0")
    with fleet.store.read() as connection:
        assert groups_in_full(connection, ORGANIZATION, half) == set()
    set_target(fleet, "till-3")
    with fleet.store.read() as connection:
        assert groups_in_full(connection, ORGANIZATION, half) == {"s0"}


def test_devices_behind_a_full_store_are_reached_and_no_page_too_many_is_read(
    fleet: Simulation,
) -> None:
    read: list[int] = []
    order = [fleet.devices[name].seq for name in ("till-0", "till-3", "till-1", "till-2")]

    def pages(_where: ColumnElement[bool]) -> Iterable[Sequence[int]]:
        for device in order:
            read.append(device)
            yield [device]

    with fleet.store.read() as connection:
        found = within_budget(connection, ORGANIZATION, ONE_PER_STORE, pages, 2)
    assert list(found) == [order[0], order[2]]
    assert read == order[:3]


def test_candidates_of_full_stores_are_not_even_read(fleet: Simulation) -> None:
    set_target(fleet, "till-0")
    read: list[int] = []

    def pages(where: ColumnElement[bool]) -> Iterable[Sequence[int]]:
        page = connection.execute(select(t.edge_devices.c.seq).where(where)).scalars().all()
        read.extend(page)
        yield page

    with fleet.store.read() as connection:
        within_budget(connection, ORGANIZATION, ONE_PER_STORE, pages, 10)
    names = {device.seq: device.name for device in fleet.devices.values()}
    assert sorted(names[seq] for seq in read) == ["kiosk", "till-1", "till-2", "till-4", "till-5"]
