"""What a device should run, per component: granted, selected, pinned, completed, or nothing."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.reconciler.simulation import ORGANIZATION, PlayedDevice, Simulation, checksum, manifest
from towline.manifests.model import Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler import documents
from towline.reconciler.previous import can_go_back
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.windows import Deny, Window

AT_ONCE = "  strategy: immediate\n"
NOT_GRANTED: dict[str, Any] = {"granted_at": None, "fetched_at": None, "deadline": None}
HOLIDAYS = Window(Deny(date(2026, 12, 20), date(2027, 1, 2)), reason="holidays")


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=2)


def till(fleet: Simulation) -> PlayedDevice:
    return fleet.devices["till-1"]


def set_target(fleet: Simulation, version: str, **values: Any) -> None:
    """Put till-1's target of the run of `version` into a state."""
    run = select(t.runs.c.seq).where(t.runs.c.target_version == version).scalar_subquery()
    with fleet.store.write() as connection:
        connection.execute(
            update(t.targets)
            .where(t.targets.c.run_seq == run, t.targets.c.device_seq == till(fleet).seq)
            .values(**values)
        )


def set_run(fleet: Simulation, **values: Any) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.runs).where(t.runs.c.seq == fleet.run().seq).values(**values))


def install(fleet: Simulation, version: str, more: str = "") -> None:
    """Let both devices complete `version`."""
    fleet.commit(manifest(version, AT_ONCE + more))
    fleet.step(6)
    assert till(fleet).installed["app"].version == version


def only(fleet: Simulation) -> ComponentWanted:
    (component,) = fleet.wanted(till(fleet))
    return component


def told(fleet: Simulation) -> tuple[str, str]:
    return only(fleet).action.value, only(fleet).version


def test_a_granted_device_is_told_to_install(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    set_target(fleet, "1.0.0", granted_at=fleet.now)
    assert told(fleet) == ("install", "1.0.0")
    assert only(fleet).sha256 == checksum("1.0.0")
    assert only(fleet).urls == ("https://server/packages/app-1.0.0.tar.gz",)


def test_a_selected_device_prepares_until_its_grant(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    fleet.commit(manifest("2.0.0", AT_ONCE))
    set_target(fleet, "2.0.0", status="pending", **NOT_GRANTED)
    assert told(fleet) == ("prepare", "2.0.0")
    set_run(fleet, status="paused")
    assert told(fleet) == ("prepare", "2.0.0")


def test_nothing_is_prepared_for_a_batch_that_failed(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    fleet.commit(manifest("2.0.0", AT_ONCE))
    set_target(fleet, "2.0.0", status="pending", **NOT_GRANTED)
    with fleet.store.write() as connection:
        connection.execute(
            update(t.batches).where(t.batches.c.run_seq == fleet.run().seq).values(state="failed")
        )
    assert told(fleet) == ("keep", "1.0.0")


def test_latecomers_prepare_after_completion(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    set_target(fleet, "1.0.0", status="pending", **NOT_GRANTED)
    assert told(fleet) == ("prepare", "1.0.0")


def test_an_install_of_a_former_run_finishes_before_the_next_begins(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    set_target(fleet, "1.0.0", status="installing", granted_at=fleet.now)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    assert told(fleet) == ("install", "1.0.0")


@pytest.mark.parametrize("status", ["failed", "rolled_back", "skipped"])
def test_what_failed_leaves_what_was_completed_before(fleet: Simulation, status: str) -> None:
    install(fleet, "1.0.0")
    fleet.commit(manifest("2.0.0", AT_ONCE))
    set_target(fleet, "2.0.0", status=status, granted_at=fleet.now)
    assert told(fleet) == ("keep", "1.0.0")


def test_a_device_that_completed_nothing_is_told_nothing(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    set_target(fleet, "1.0.0", status="failed")
    assert fleet.wanted(till(fleet)) == ()


def pin(fleet: Simulation, version: str) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == till(fleet).seq)
            .values(
                pin_version=version,
                pin_sha256=checksum(version),
                pin_revision=fleet.run().revision,
            )
        )


def test_a_pin_is_kept_over_what_was_completed(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    install(fleet, "2.0.0")
    pin(fleet, "1.0.0")
    assert told(fleet) == ("keep", "1.0.0")


def test_a_pin_to_something_that_no_run_offered_keeps_what_runs(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    pin(fleet, "0.5.0")
    assert fleet.wanted(till(fleet)) == ()


def test_a_device_goes_back_to_what_its_grant_recorded(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    install(fleet, "2.0.0")
    back = {"status": "pending", "goes_back": True, "attempt": 2, "from_version": "1.0.0"}
    set_target(fleet, "2.0.0", **back, from_sha256=checksum("1.0.0"), granted_at=fleet.now)
    assert told(fleet) == ("rollback", "1.0.0")
    component = only(fleet)
    run = fleet.run()
    assert (component.deployment, component.revision) == (str(run.id), run.revision)
    assert (component.attempt, component.sha256) == (2, checksum("1.0.0"))
    set_target(fleet, "2.0.0", granted_at=None)
    assert told(fleet) == ("keep", "1.0.0")


def goes_back(fleet: Simulation) -> bool:
    with fleet.store.read() as connection:
        target = connection.execute(
            select(t.targets).where(
                t.targets.c.run_seq == fleet.run().seq,
                t.targets.c.device_seq == till(fleet).seq,
            )
        ).one()
        return can_go_back(connection, target)


def test_only_a_release_that_a_run_offered_can_be_gone_back_to(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    assert not goes_back(fleet)
    install(fleet, "2.0.0")
    assert goes_back(fleet)
    set_target(fleet, "2.0.0", from_sha256="ab" * 32, goes_back=True, status="pending")
    assert not goes_back(fleet)
    set_target(fleet, "2.0.0", granted_at=fleet.now)
    assert fleet.wanted(till(fleet)) == ()


def test_a_committed_rollback_index_bars_the_way_back(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    install(fleet, "2.0.0")
    with fleet.store.write() as connection:
        connection.execute(update(t.device_components).values(rollback_index=1))
    assert not goes_back(fleet)


def test_windows_of_the_run_and_of_freezes_gate_an_install(fleet: Simulation) -> None:
    shop = fleet.enrol("shop-1", site="shop")
    frozen = Freeze("f", "f.yaml", (HOLIDAYS,), Ownership(labels=(("site", ("shop",)),)), "x")
    with fleet.store.write() as connection:
        assert freezes.replace(connection, ORGANIZATION, [frozen])
        assert not freezes.replace(connection, ORGANIZATION, [frozen])
        connection.execute(update(t.edge_devices).values(time_zone="Europe/Berlin"))
    night = "  windows: [{allow: {days: Mon-Fri, start: '01:00', length: 4h}}]\n"
    fleet.commit(manifest("1.0.0", AT_ONCE + night))
    (with_freeze,) = fleet.wanted(shop)
    assert with_freeze.windows == (*only(fleet).windows, HOLIDAYS)
    assert len(only(fleet).windows) == 1
    assert only(fleet).time_zone == "Europe/Berlin"
    set_run(fleet, through_windows=True)
    assert fleet.wanted(shop)[0].windows == ()


def test_what_is_only_kept_has_no_windows(fleet: Simulation) -> None:
    install(fleet, "1.0.0")
    with fleet.store.write() as connection:
        freezes.replace(
            connection, ORGANIZATION, [Freeze("f", "f.yaml", (HOLIDAYS,), Ownership(), "x")]
        )
    assert only(fleet).action is ComponentAction.KEEP
    assert only(fleet).windows == ()


def test_a_freeze_that_is_gone_frees(fleet: Simulation) -> None:
    frozen = Freeze("f", "f.yaml", (HOLIDAYS,), Ownership(), "x")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    with fleet.store.write() as connection:
        freezes.replace(connection, ORGANIZATION, [frozen])
    assert only(fleet).windows == (HOLIDAYS,)
    with fleet.store.write() as connection:
        assert freezes.replace(connection, ORGANIZATION, [])
    assert only(fleet).windows == ()


def test_what_is_to_be_done_goes_before_what_is_kept(
    fleet: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(fleet, "1.0.0")
    fleet.commit(manifest("1.0.0", AT_ONCE), manifest("1.0.0", AT_ONCE, "zebra"))
    assert [each.name for each in fleet.wanted(till(fleet))] == ["app", "zebra"]
    monkeypatch.setattr(documents, "COMPONENTS_LIMIT", 1)
    assert only(fleet).name == "zebra"
