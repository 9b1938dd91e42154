"""Documents of many devices, read together: each is what it is when it is read alone."""

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import delete, event, update

from tests.reconciler.simulation import ORGANIZATION, Simulation, checksum, manifest
from towline.manifests.model import Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler.documents import components_of
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.schemas.windows import Deny, Window

pytestmark = pytest.mark.both_engines

SITES = {f"shop-{number}": "rome" if number < 3 else "oslo" for number in range(1, 6)}
MOST_PREPARE = "  strategy: {type: rolling, batchSize: 90%}\n  maxConcurrent: 2\n"


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    """Devices that keep, install, prepare, go back, are pinned, have nothing, are frozen.

    Some differ in nothing but their place, their time zone or their pin.
    """
    fleet = Simulation(tmp_path, devices=6)
    for name, site in SITES.items():
        fleet.enrol(name, site=site)
    free, held = (fleet.enrol(name, device_type="other").seq for name in ("free", "held"))
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"), manifest("2.0.0", "", "lib"))
    fleet.step(2)
    fleet.commit(manifest("1.1.0", MOST_PREPARE), manifest("2.0.0", "", "lib"))
    goes_back, granted, pinned, zoned = (
        fleet.devices[name].seq for name in ("till-1", "till-2", "till-5", "shop-3")
    )
    former = {"version": "1.0.0", "sha256": checksum("1.0.0")}
    back = {"goes_back": True} | {f"from_{key}": value for key, value in former.items()}
    with fleet.store.write() as connection:
        for seq, more in ((goes_back, back), (granted, {})):
            connection.execute(
                update(t.targets)
                .where(t.targets.c.run_seq == fleet.run().seq, t.targets.c.device_seq == seq)
                .values(granted_at=fleet.now, status="pending", **more)
            )
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == pinned)
            .values({f"pin_{key}": value for key, value in former.items()})
        )
        # Of two that no run selects, one is pinned.
        connection.execute(delete(t.targets).where(t.targets.c.device_seq.in_([free, held])))
        newer = {"pin_version": "1.1.0", "pin_sha256": checksum("1.1.0")}
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == held)
            .values(newer)
        )
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.seq == zoned)
            .values(time_zone="Asia/Tokyo")
        )
        christmas = Window(Deny(date(2027, 12, 20), date(2027, 12, 31)), reason="shops")
        owned = Ownership(labels=(("site", ("oslo",)),))
        freeze = Freeze("christmas", "f.yaml", (christmas,), owned, "x")
        freezes.replace(connection, ORGANIZATION, [freeze])
    return fleet


def test_each_is_what_it_is_alone_and_more_cost_no_more_statements(fleet: Simulation) -> None:
    asked = {
        device.seq: f"https://{'inside' if device.seq % 2 else 'outside'}/packages/"
        for device in fleet.devices.values()
    }
    statements = []
    event.listen(
        fleet.store.engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    with fleet.store.read() as connection:
        alone = {seq: components_of(connection, {seq: url})[seq] for seq, url in asked.items()}
        statements.clear()
        together = components_of(connection, asked)
    assert together == alone
    # Devices, targets, pins, Freezes, labels; a run or a release that is gone back to: once each.
    assert len(statements) <= 5 + 6
    actions = {part.action.value for parts in alone.values() for part in parts}
    assert actions == {"keep", "install", "prepare", "rollback"}
    assert any(part.windows and part.time_zone for parts in alone.values() for part in parts)
    assert len({part.urls for parts in alone.values() for part in parts}) > 2
