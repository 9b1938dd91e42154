"""A document never grows beyond what devices read: what is only to be kept gives way."""

from dataclasses import replace
from pathlib import Path

from tests.reconciler.simulation import RELEASE_KEY, Simulation, manifest
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.served_documents import Content, Poll, ServedDocuments
from towline.reconciler.server.sessions import Session
from towline.schemas import desired_state, envelope
from towline.schemas.desired_state import ComponentAction
from towline.schemas.keys import PrivateKey


def test_a_document_that_is_too_large_sheds_what_is_only_kept(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    (component,) = fleet.wanted(fleet.devices["till-1"])
    urls = tuple(f"https://cdn.example.com/{'x' * 900}/{n}" for n in range(6))
    large = [
        replace(component, name=f"part-{n}", urls=urls, action=ComponentAction.KEEP)
        for n in range(20)
    ]
    content = Content((component, *large), '"tag"')
    documents = ServedDocuments(
        fleet.store, Doorbell(), PrivateKey.from_raw(b"\2" * 32), "acme", 60
    )
    session = Session(1, "till-1", RELEASE_KEY.public.keyid, 9_000_000_000)
    body = documents.sign(content, Poll(session, "A" * 22, 0, 1_800_000_000_000), 1)
    sealed = envelope.parse(body)
    served = desired_state.parse_payload(sealed.payload).components
    assert component in served
    assert 1 < len(served) < 21
