"""What a commit does to devices without a run: Device manifests and Freezes."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import NOW, Fleet, app
from towline.reconciler.store import tables as t
from towline.reconciler.store.labels import intern_labels
from towline.schemas.identifiers import device_uuid


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def add_device(fleet: Fleet) -> int:
    """A device till-1; returns its number."""
    with fleet.store.write() as connection:
        return int(
            connection.execute(
                t.edge_devices.insert()
                .values(
                    id=device_uuid(ORGANIZATION, "till-1"),
                    slug="till-1",
                    organization=ORGANIZATION,
                    device_type="generic",
                    label_set_id=intern_labels(connection, {}),
                    labels_git={},
                    labels_people={},
                    labels_join={},
                    state="active",
                    created_at=NOW,
                )
                .returning(t.edge_devices.c.seq)
            ).scalar_one()
        )


def test_a_freeze_that_comes_or_goes_is_kept_and_rung_for(fleet: Fleet) -> None:
    add_device(fleet)
    rung: list[set[str]] = []
    fleet.store.hear(lambda told: rung.append(told.everyone) if told.everyone else None)
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    assert rung == []
    text = (
        "apiVersion: towline/v1\nkind: Freeze\nmetadata: {name: holidays}\nspec:\n"
        "  windows: [{deny: {from: 2026-12-20, to: 2027-01-02}}]\n  reason: holidays\n"
    )
    fleet.commit(freeze=text)
    fleet.follower.look(NOW)
    with fleet.store.read() as connection:
        assert list(connection.execute(select(t.freezes.c.name)).scalars()) == ["holidays"]
    fleet.commit(app=app("2.0.0"))
    fleet.follower.look(NOW)
    assert rung == [{ORGANIZATION}]
    fleet.commit(freeze=None)
    fleet.follower.look(NOW)
    assert rung == [{ORGANIZATION}] * 2


def test_a_device_manifest_that_breaks_keeps_its_device_revoked(fleet: Fleet) -> None:
    seq = add_device(fleet)

    def state() -> str:
        with fleet.store.read() as connection:
            return str(
                connection.execute(
                    select(t.edge_devices.c.state).where(t.edge_devices.c.seq == seq)
                ).scalar_one()
            )

    revoked = (
        "apiVersion: towline/v1\nkind: Device\nmetadata: {name: till-1}\nspec: {state: revoked}\n"
    )
    fleet.commit(device=revoked)
    fleet.follower.look(NOW)
    assert state() == "revoked"
    fleet.commit(device=revoked.replace("state", "sate"))
    fleet.follower.look(NOW)
    assert state() == "revoked"
    fleet.commit(device=None)
    fleet.follower.look(NOW)
    assert state() == "active"
