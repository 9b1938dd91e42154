"""Documents as they are served: none grows beyond what devices read, and many are read at once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Engine, select, update

from tests.reconciler.simulation import ORGANIZATION, RELEASE_KEY, Simulation, manifest
from towline.manifests.model import Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler.server import served_documents
from towline.reconciler.server.content import Content
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.served_documents import OTHERS, SLICE, Poll, ServedDocuments
from towline.reconciler.server.sessions import Session
from towline.reconciler.server.traces import Traces
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
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

    async def story() -> Content:
        return await documents(fleet).read(Traces(fleet.devices["till-1"].seq), PACKAGES)

    return asyncio.run(story())


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


@pytest.fixture
def small(tmp_path: Path) -> Simulation:
    """One device that is granted one component."""
    small = Simulation(tmp_path, devices=1)
    small.commit(manifest("1.0.0", "  strategy: immediate\n", NAMES[0]))
    return small


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


class Held(Store):
    """A store that counts its transactions, and in which the first one waits until it is let go."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.reads = 0
        self.may_go_on = threading.Event()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with super().read() as connection:
            self.reads += 1
            yield connection
            assert self.may_go_on.wait(10)


def test_who_asks_together_is_read_together(small: Simulation) -> None:
    devices = [Traces(small.enrol(f"more-{n}").seq) for n in range(40)]
    store = Held(small.store.engine)
    served = ServedDocuments(store, Doorbell(), lambda _: RELEASE_KEY, 86400)

    async def story() -> None:
        asked = asyncio.gather(*(served.read(each, PACKAGES) for each in devices))
        await asyncio.sleep(0)
        assert served.reading == len(devices)
        store.may_go_on.set()
        contents = await asyncio.wait_for(asked, 10)
        assert len({id(content) for content in contents}) == 1
        assert served.known(devices[0], PACKAGES) is contents[0]
        assert served.known(devices[0], "https://elsewhere/packages/") is None

    asyncio.run(story())
    assert (store.reads, served.reading) == (1, 0)


def test_who_asks_after_a_ring_is_not_told_what_was_read_before_it(small: Simulation) -> None:
    store, doorbell, seq = Held(small.store.engine), Doorbell(), small.devices["till-1"].seq
    served = ServedDocuments(store, doorbell, lambda _: RELEASE_KEY, 86400)
    till = Traces(seq)

    async def story() -> None:
        doorbell.open()
        first = served.read(till, PACKAGES)
        while not store.reads:
            await asyncio.sleep(0.01)
        set_targets(small, NAMES[:1], status="failed")
        doorbell.ring([seq])
        await asyncio.sleep(0)
        second = served.read(till, PACKAGES)
        store.may_go_on.set()
        assert (await asyncio.wait_for(first, 10)).work
        assert served.known(till, PACKAGES) is None
        after = await asyncio.wait_for(second, 10)
        assert not after.work
        assert served.known(till, PACKAGES) is after

    asyncio.run(story())


class Loop:
    """An event loop with a clock of its own, on which signing takes ten steps."""

    def __init__(self, fleet: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.devices = [fleet.enrol(f"more-{n}").seq for n in range(3 * SLICE)]
        self.took: Counter[str] = Counter()
        self._is_over = False
        self._served = ServedDocuments(
            fleet.store, Doorbell(), lambda _: cast(PrivateKey, self), 86400
        )
        clock = SimpleNamespace(
            perf_counter=lambda: self.took.total() / 1000,
            thread_time=lambda: self.took.total() / 1000,
        )
        monkeypatch.setattr(served_documents, "time", clock)

    def sign(self, _: bytes) -> bytes:
        """As the key that signs."""
        self.took["signing"] += 10
        return b"s" * 64

    public = RELEASE_KEY.public

    async def hand_out(self) -> None:
        """Let all be read, and signed as soon as they are there."""
        await asyncio.gather(*(self._ask(seq) for seq in self.devices))
        self._is_over = True

    async def _ask(self, seq: int) -> None:
        self._sign(await self._served.read(Traces(seq), PACKAGES))

    def _sign(self, content: Content) -> None:
        session = Session(1, "d", RELEASE_KEY.public.keyid, 9_000_000_000, "o")
        self._served.sign(content, Poll(session, "A" * 22, 0, 4 * 10**12), 1)

    async def sign_for_others(self) -> None:
        """Have always documents to sign that nobody has to read first."""
        content = await self._served.read(Traces(self.devices[0]), PACKAGES)
        while not self._is_over:
            self._sign(content)
            await asyncio.sleep(0)

    async def answer_others(self) -> None:
        """Have always something to do for others, which takes one step a round."""
        while not self._is_over:
            if self.took["signing"]:
                self.took["others"] += 1
            await asyncio.sleep(0)


def test_others_are_answered_while_documents_are_signed(
    small: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(small, monkeypatch)

    async def story() -> None:
        await asyncio.gather(loop.hand_out(), loop.answer_others())

    asyncio.run(story())
    # After the last slice nobody is given way to any more.
    assert loop.took["others"] >= OTHERS * loop.took["signing"] * 2 // 3


def test_who_signs_all_the_while_keeps_nobody_from_their_documents(
    small: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(small, monkeypatch)

    async def story() -> None:
        await asyncio.wait_for(asyncio.gather(loop.hand_out(), loop.sign_for_others()), 10)

    asyncio.run(story())


def test_nothing_waits_where_nobody_else_is_there(
    small: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(small, monkeypatch)
    rounds = Counter[str]()

    async def count() -> None:
        while loop.took["signing"] < 10 * len(loop.devices):
            rounds["while signing"] += bool(loop.took["signing"])
            await asyncio.sleep(0)

    async def story() -> None:
        await asyncio.gather(loop.hand_out(), count())

    asyncio.run(story())
    assert rounds["while signing"] <= 3 * len(loop.devices) // SLICE


def test_one_that_cannot_be_made_keeps_nobody_from_theirs(small: Simulation) -> None:
    served = documents(small)

    async def story() -> list[Any]:
        asked = (served.read(Traces(seq), PACKAGES) for seq in (small.devices["till-1"].seq, 999))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    content, error = asyncio.run(story())
    assert isinstance(content, Content)
    assert isinstance(error, KeyError)


def test_who_asks_while_no_thread_can_be_started_is_told_so(
    small: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, till = documents(small), Traces(small.devices["till-1"].seq)

    async def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "to_thread", refuse)
            with pytest.raises(RuntimeError, match="thread"):
                await asyncio.wait_for(served.read(till, PACKAGES), 5)
        assert served.reading == 0
        assert await asyncio.wait_for(served.read(till, PACKAGES), 5)

    asyncio.run(story())


def test_who_asks_is_told_even_where_the_log_cannot_be_written_to(
    small: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = documents(small)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(served_documents.log, "error", refuse, raising=False)
            with pytest.raises(ValueError, match="closed file"):
                await asyncio.wait_for(served.read(Traces(999), PACKAGES), 5)
        assert await asyncio.wait_for(served.read(Traces(small.devices["till-1"].seq), PACKAGES), 5)

    asyncio.run(story())
