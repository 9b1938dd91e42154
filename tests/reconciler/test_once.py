"""What may be given or used once is refused the second time, on both engines."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from tests.reconciler.simulation import ORGANIZATION, Simulation
from towline.reconciler.store import device_tokens, nonces
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_tokens import NoToken
from towline.schemas.problems import Refused

pytestmark = pytest.mark.both_engines
NOW = 1_800_000_000


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=2)


def test_a_nonce_opens_one_session_of_its_device_while_its_request_is_believed(
    fleet: Simulation,
) -> None:
    first, second = (device.seq for device in fleet.devices.values())
    with fleet.store.write() as connection:
        nonces.use(connection, first, "once", NOW)
        nonces.use(connection, second, "once", NOW)
        with pytest.raises(Refused, match="nonce-reused"):
            nonces.use(connection, first, "once", NOW + nonces.LIFE_S - 1)
        nonces.use(connection, first, "another", NOW + nonces.LIFE_S)
        kept = select(t.session_nonces.c.device_seq)
        assert sorted(connection.execute(kept).scalars()) == [first, second], "it is forgotten"


def test_a_device_is_given_one_first_token(fleet: Simulation) -> None:
    (name, *_) = fleet.devices
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(public_key=None))
        connection.execute(delete(t.device_tokens))
        device_tokens.create(connection, ORGANIZATION, name, "Ada", NOW)
        with pytest.raises(NoToken, match="has a token already"):
            device_tokens.create(connection, ORGANIZATION, name, "Ada", NOW)
