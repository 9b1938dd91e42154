"""Lists of a large fleet show what those of a small one do and only count less, on both engines."""

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from tests.reconciler.simulation import ORGANIZATION, Simulation
from towline.reconciler.store import device_parts, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.bound import bound_to
from towline.reconciler.store.device_lists import DeviceOrder, FleetFilter, Presence
from towline.schemas.identifiers import device_uuid

pytestmark = pytest.mark.both_engines
SEEN_AFTER = 1000
LAST_SEEN = (2000, 900, 2000, None, 800, 2000, 900)
FILTERS = {
    "all": FleetFilter(),
    "a part of the id": FleetFilter(contains="till-"),
    "in capitals": FleetFilter(contains="TILL"),
    "the end of the id": FleetFilter(contains="-3"),
    "one letter": FleetFilter(contains="t"),
    "online": FleetFilter(presence=Presence.ONLINE),
    "offline": FleetFilter(presence=Presence.OFFLINE),
    "never seen": FleetFilter(presence=Presence.NEVER),
    "type": FleetFilter(device_type="generic"),
    "nobody": FleetFilter(device_type="camera"),
}


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    """Seven devices that were last seen at these times, among those of another organization."""
    fleet = Simulation(tmp_path, devices=len(LAST_SEEN))
    with fleet.store.write() as connection:
        repositories.ensure(connection, "other", "fleet", "main", "", 0)
        for device, at in zip(fleet.devices.values(), LAST_SEEN, strict=True):
            connection.execute(
                update(t.device_state)
                .where(t.device_state.c.device_seq == device.seq)
                .values(last_seen=at)
            )
            others = {
                "id": device_uuid("other", device.name),
                "slug": device.name,
                "organization": "other",
                "device_type": "generic",
                "label_set_id": 1,
                "labels_git": {},
                "labels_people": {},
                "labels_join": {},
                "state": "active",
                "created_at": 0,
            }
            seq = connection.execute(
                insert(t.edge_devices).returning(t.edge_devices.c.seq), others
            ).scalar_one()
            state = {"device_seq": seq, "last_seen": at, "facts": {}}
            connection.execute(insert(t.device_state), state)
    return fleet


def listed(
    fleet: Simulation, wanted: FleetFilter, order: DeviceOrder, limit: int
) -> tuple[list[str], set[tuple[int, bool]]]:
    """All parts of a list, and what each of them says of the total."""
    ids, totals, after = [], set(), ""
    with bound_to(fleet.store, ORGANIZATION).read() as connection:
        while True:
            asked = FleetFilter(
                contains=wanted.contains,
                presence=wanted.presence,
                device_type=wanted.device_type,
                after=after,
            )
            part = device_parts.devices_part(
                connection, ORGANIZATION, asked, limit, SEEN_AFTER, order
            )
            ids += [each["id"] for each in part.devices]
            totals.add((part.total, part.has_more))
            if part.onward is None:
                return ids, totals
            after = part.onward


EXPECTED = {
    "all": "1234567",
    "a part of the id": "1234567",
    "in capitals": "1234567",
    "the end of the id": "3",
    "one letter": "1234567",
    "online": "136",
    "offline": "257",
    "never seen": "4",
    "type": "1234567",
    "nobody": "",
}
BY_TIME = "4527136"


def in_order(numbers: str, order: DeviceOrder) -> list[str]:
    if not order.is_by_id:
        numbers = "".join(each for each in BY_TIME if each in numbers)
    return [f"till-{each}" for each in (numbers[::-1] if order.is_backwards else numbers)]


@pytest.mark.parametrize(
    ("sampled_percent", "plenty", "window"),
    [(0, 1, 1), (100, 0, 2), (100, 1, 2), (50, 1, 2)],
    ids=["nobody can tell", "too few are near", "as many as are wanted", "by chance"],
)
def test_a_list_is_the_same_however_large_the_fleet_is(
    fleet: Simulation,
    monkeypatch: pytest.MonkeyPatch,
    sampled_percent: float,
    plenty: int,
    window: int,
) -> None:
    monkeypatch.setattr(device_parts, "SAMPLED_PERCENT", sampled_percent)
    monkeypatch.setattr(device_parts, "PLENTY", plenty)
    monkeypatch.setattr(device_parts, "COUNTED", 1)
    monkeypatch.setattr(device_parts, "WINDOW", window)
    for limit_of_small in (0, 1_000_000):
        monkeypatch.setattr(device_parts, "LARGE_FLEET", limit_of_small)
        for name, wanted in FILTERS.items():
            for order in DeviceOrder:
                ids, totals = listed(fleet, wanted, order, 2)
                assert ids == in_order(EXPECTED[name], order), (name, order)
                n = len(EXPECTED[name])
                is_cut = n > 1 and not limit_of_small
                assert totals == {(1, True) if is_cut else (n, False)}, (name, order)


@pytest.mark.parametrize("order", [DeviceOrder.BY_ID, DeviceOrder.BY_ID_BACKWARDS])
@pytest.mark.parametrize("window", [0, 1, 3])
def test_ids_that_stand_at_the_far_end_are_found_as_well(
    fleet: Simulation, monkeypatch: pytest.MonkeyPatch, order: DeviceOrder, window: int
) -> None:
    monkeypatch.setattr(device_parts, "LARGE_FLEET", 0)
    monkeypatch.setattr(device_parts, "COUNTED", 0)
    monkeypatch.setattr(device_parts, "WINDOW", window)
    for contains, numbers in {"till-": "1234567", "till-6": "6", "till-1": "1", "-77": ""}.items():
        ids, _ = listed(fleet, FleetFilter(contains=contains), order, 2)
        assert ids == in_order(numbers, order), contains
