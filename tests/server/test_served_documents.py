"""A document never grows beyond what devices read: what is less urgent gives way."""

import asyncio
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.reconciler.simulation import ORGANIZATION, RELEASE_KEY, Simulation, manifest
from towline.manifests.model import Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.served_documents import Content, Poll, ServedDocuments
from towline.reconciler.server.sessions import Session
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.schemas import desired_state, envelope
from towline.schemas.desired_state import ComponentAction
from towline.schemas.keys import PrivateKey
from towline.schemas.windows import Deny, Window

NAMES = [f"part-{n:02}" for n in range(14)]
PACKAGES = "https://server/packages/"


def documents(fleet: Simulation) -> ServedDocuments:
    """Served to anybody by a key of their own."""
    key = PrivateKey.from_raw(b"\2" * 32)
    return ServedDocuments(fleet.store, Doorbell(), lambda _: key, 86400)


def read(fleet: Simulation) -> Content:
    """The content of the one device's document, read anew."""
    return asyncio.run(documents(fleet).content(fleet.devices["till-1"].seq, PACKAGES))


def served(fleet: Simulation, content: Content) -> dict[str, ComponentAction]:
    """Component -> action as the device reads it; raises Refused where it would refuse."""
    session = Session(1, "d" * 63, RELEASE_KEY.public.keyid, 9_000_000_000, "o" * 63)
    body = documents(fleet).sign(content, Poll(session, "A" * 22, 0, 4 * 10**12), 10**6)
    found = desired_state.parse_payload(envelope.parse(body).payload)
    return {each.name: each.action for each in found.components}


def set_targets(fleet: Simulation, names: list[str], **values: object) -> None:
    """Put the device's targets of these Deployments into a state."""
    named = select(t.runs.c.seq).where(t.runs.c.deployment.in_(names))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).where(t.targets.c.run_seq.in_(named)).values(**values))


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """One device that is granted fourteen components, under twelve Freezes of many words."""
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(*(manifest("1.0.0", "  strategy: immediate\n", name) for name in NAMES))
    set_targets(fleet, NAMES, granted_at=fleet.now)
    days = [date(2027, 1, 1) + timedelta(weeks=n) for n in range(12)]
    frozen = [
        Freeze(f"f-{n}", "f.yaml", (Window(Deny(day, day), reason="x" * 255),), Ownership(), "x")
        for n, day in enumerate(days)
    ]
    with fleet.store.write() as connection:
        freezes.replace(connection, ORGANIZATION, frozen)
    return fleet


def test_more_installs_than_a_document_holds_are_told_in_turn(fleet: Simulation) -> None:
    content = read(fleet)
    first = served(fleet, content)
    assert list(first) == NAMES[: len(first)]
    assert 5 < len(first) < 14
    set_targets(fleet, list(first), status="completed", completed_at=fleet.now)
    later = read(fleet)
    assert later.etag != content.etag
    rest = NAMES[len(first) :]
    assert [name for name, action in served(fleet, later).items() if action == "install"] == rest


@pytest.mark.parametrize(
    "values",
    [
        {"status": "pending", "granted_at": None},
        {"status": "completed", "completed_at": 1_800_000_000},
    ],
)
def test_an_install_goes_before_what_is_prepared_or_kept(
    fleet: Simulation, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_targets(fleet, NAMES[:-1], **values)
    monkeypatch.setattr("towline.reconciler.documents.COMPONENTS_BYTES", 7000)
    found = served(fleet, read(fleet))
    assert found[NAMES[-1]] is ComponentAction.INSTALL
    assert len(found) < 14


def test_what_is_too_large_by_itself_does_not_keep_the_others_waiting(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        run = connection.execute(select(t.runs).where(t.runs.c.deployment == NAMES[0])).one()
        urls = {"urls": [f"https://cdn.example.com/{'x' * 50_000}"]}
        offer = run.offer | {"releases": [each | urls for each in run.offer["releases"]]}
        connection.execute(update(t.runs).where(t.runs.c.seq == run.seq).values(offer=offer))
    found = served(fleet, read(fleet))
    assert NAMES[0] not in found
    assert NAMES[1] in found
