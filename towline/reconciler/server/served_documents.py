"""The devices' documents as they are served: content cached per device, signed for each answer.

The content is read from the store only after the device's bell rang, for all at once that rang
meanwhile; an unchanged poll reads nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from towline.reconciler.documents import components_of
from towline.reconciler.server.content import Content, Kept
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.sessions import Session
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.turn import WORTH_A_TURN, Turn
from towline.reconciler.store.engine import AWAY, Store, is_postgres
from towline.schemas.desired_state import ComponentWanted, Heading
from towline.schemas.keys import PrivateKey

log = structlog.get_logger()

DOCUMENT_LIFE_S = 2 * 86400
TOGETHER = 200
"""So many contents are read in one transaction at most."""
SLICE = 40
"""So many are handed out, and signed, before the event loop looks after others again."""
OTHERS = 100
"""So many times as long as signing took others have the event loop then, if they need it."""
IDLE_S = 0.0001
"""A round of the event loop in which nothing was to be done takes less, unless a thread works."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What a device says of itself when it asks for its document."""

    session: Session
    nonce: str
    last_sequence: int
    now_ms: int


Asked = tuple[Traces, str]
"""A device, and where it reaches the server's packages."""


class ServedDocuments:
    """Belongs to the event loop's thread; the store is read in another."""

    def __init__(
        self,
        store: Store,
        doorbell: Doorbell,
        key_of: Callable[[str], PrivateKey],
        poll_after_s: int,
    ) -> None:
        """`key_of`: what signs for an organization."""
        self._store = store
        self._doorbell = doorbell
        self._key_of = key_of
        self._poll_after_s = poll_after_s
        self._alike: WeakValueDictionary[bytes, Content] = WeakValueDictionary()
        self._asked: dict[Asked, list[asyncio.Future[Content]]] = {}
        self._under_way = 0
        self._signing_s = 0.0
        """How long all signing took so far, without what other threads did meanwhile."""
        self._reader: asyncio.Task[None] | None = None

    @property
    def reading(self) -> int:
        """How many contents are to be read from the store, or are being read."""
        return len(self._asked) + self._under_way

    def known(self, of: Traces, packages_url: str) -> Content | None:
        """The device's content, if its bell did not ring since it was read."""
        kept = of.kept
        if kept is None or kept.packages_url != packages_url:
            return None
        return kept.content if kept.rings == self._doorbell.count(of.device_seq) else None

    def read(self, of: Traces, packages_url: str) -> "asyncio.Future[Content]":
        """The device's content, read anew, together with all that are asked for meanwhile."""
        future: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
        self._asked.setdefault((of, packages_url), []).append(future)
        if self._reader is None:
            self._reader = asyncio.ensure_future(self._read_all())
        return future

    async def _read_all(self) -> None:
        try:
            while self._asked:
                await self._read_some()
        finally:
            self._reader = None

    async def _read_some(self) -> None:
        asked: dict[int, Asked] = {}
        for each in self._asked:
            if len(asked) < TOGETHER:
                asked.setdefault(each[0].device_seq, each)
        # Who asks from now on may do so for a later ring than what is read here knows of.
        waiting = {seq: self._asked.pop(each) for seq, each in asked.items()}
        rings = {seq: self._doorbell.count(seq) for seq in asked}
        self._under_way = len(asked)
        try:
            found = await self._found_elsewhere({seq: url for seq, (_, url) in asked.items()})
        except Exception as error:  # noqa: BLE001 the log cannot be written to, and yet all are told
            found = dict.fromkeys(asked, error)
        for number, (seq, read) in enumerate(found.items(), 1):
            self._under_way -= 1
            if isinstance(read, Content):
                of, packages_url = asked[seq]
                of.kept = Kept(rings[seq], packages_url, read)
            _tell(waiting[seq], read)
            if number % SLICE == 0:
                await self._give_way()

    async def _found_elsewhere(self, asked: Mapping[int, str]) -> dict[int, Content | Exception]:
        try:
            return await asyncio.to_thread(self._found, asked, asyncio.get_running_loop())
        except Exception as error:  # noqa: BLE001 no thread can be started, and yet all are told
            log.error("document.failed", devices=len(asked), error=repr(error))
            return dict.fromkeys(asked, error)

    async def _give_way(self) -> None:
        """Let what was handed out be signed, then those be answered for whom it is quicker done.

        A change of all documents keeps the event loop busy for seconds; unchanged polls and
        reports do not wait for that, and hardly anything waits where nobody else is there.
        """
        signed_s, now = self._signing_s, time.perf_counter()
        await asyncio.sleep(0)  # They are signed in this round: their calls were there before.
        until = now + (1 + OTHERS) * (self._signing_s - signed_s)
        round_s = IDLE_S
        while now < until and round_s >= IDLE_S:
            before = time.perf_counter()
            await asyncio.sleep(0)
            now = time.perf_counter()
            round_s = now - before

    def _found(
        self, asked: Mapping[int, str], loop: asyncio.AbstractEventLoop
    ) -> dict[int, Content | Exception]:
        """The content of each, or why there is none; raises nothing."""
        try:
            with self._store.read() as connection, Turn() as turn:
                # On Postgres most of it is another process' work.
                if len(asked) >= WORTH_A_TURN and not is_postgres(connection):
                    turn.take(loop)
                components = components_of(connection, asked)
            made: dict[tuple[int, ...], Content] = {}
            return {seq: self._content(components[seq], made) for seq in asked}
        except AWAY as error:
            log.error("store.away", error=repr(error))
            return dict.fromkeys(asked, error)
        except Exception as error:  # noqa: BLE001 whatever it was, whoever asked is told
            if len(asked) == 1:
                log.error("document.failed", device=next(iter(asked)), error=repr(error))
                return dict.fromkeys(asked, error)
            # One that cannot be made must not keep the others from theirs.
            return {seq: self._found({seq: url}, loop)[seq] for seq, url in asked.items()}

    def _content(
        self, components: Sequence[ComponentWanted], made: dict[tuple[int, ...], Content]
    ) -> Content:
        """The one content of these components; `made` knows it by the very objects."""
        those = tuple(map(id, components))
        if those not in made:
            content = Content.of(components)
            made[those] = self._alike.setdefault(content.written, content)
        return made[those]

    def sign(self, content: Content, poll: Poll, root_version: int) -> bytes:
        """The envelope for this very poll."""
        began, now = time.thread_time(), poll.now_ms // 1000
        heading = Heading(
            organization=poll.session.organization,
            device=poll.session.slug,
            device_key=poll.session.keyid,
            nonce=poll.nonce,
            sequence=max(poll.last_sequence + 1, poll.now_ms),
            issued_at=now,
            expires=now + DOCUMENT_LIFE_S,
            root_version=root_version,
            poll_after_s=self._poll_after_s,
        )
        key = self._key_of(poll.session.organization)
        body = heading.sign_over(content.written, key).to_bytes()
        self._signing_s += time.thread_time() - began
        return body


def _tell(waiting: Sequence["asyncio.Future[Content]"], read: Content | Exception) -> None:
    for future in waiting:
        if future.done():
            continue  # whoever asked went away
        if isinstance(read, Exception):
            future.set_exception(read)
        else:
            future.set_result(read)
