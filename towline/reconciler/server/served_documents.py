"""The devices' documents as they are served: content cached per device, signed for each answer.

The content is read from the store only after the device's bell rang; an unchanged poll reads
nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from towline.reconciler.documents import components_of
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.sessions import Session
from towline.reconciler.store.engine import Store
from towline.schemas.desired_state import ComponentAction, ComponentWanted, DesiredState, etag
from towline.schemas.keys import PrivateKey

DOCUMENT_LIFE_S = 2 * 86400


@dataclass(frozen=True, slots=True)
class Content:
    """What a device should run, unsigned."""

    components: tuple[ComponentWanted, ...]
    etag: str

    @property
    def work(self) -> tuple[str, ...]:
        """What the device is to download or install: the clocks of these components begin."""
        return tuple(
            each.name for each in self.components if each.action is not ComponentAction.KEEP
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """One cached content, and what it was true for."""

    rings: int
    packages_url: str
    content: Content


@dataclass(frozen=True, slots=True)
class Poll:
    """What a device says of itself when it asks for its document."""

    session: Session
    nonce: str
    last_sequence: int
    now_ms: int


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
        self._kept: dict[int, _Kept] = {}
        self.reading = 0
        """Contents that are being read from the store."""

    async def content(self, device_seq: int, packages_url: str) -> Content:
        """The device's content, read anew only after its bell rang."""
        rings = self._doorbell.count(device_seq)
        kept = self._kept.get(device_seq)
        if kept is not None and (kept.rings, kept.packages_url) == (rings, packages_url):
            return kept.content
        self.reading += 1
        try:
            content = await asyncio.to_thread(self._read, device_seq, packages_url)
        finally:
            self.reading -= 1
        self._kept[device_seq] = _Kept(rings, packages_url, content)
        return content

    def _read(self, device_seq: int, packages_url: str) -> Content:
        with self._store.read() as connection:
            components = components_of(connection, device_seq, packages_url)
        return Content(components, etag(components))

    def sign(self, content: Content, poll: Poll, root_version: int) -> bytes:
        """The envelope for this very poll."""
        now = poll.now_ms // 1000
        document = DesiredState(
            organization=poll.session.organization,
            device=poll.session.slug,
            device_key=poll.session.keyid,
            nonce=poll.nonce,
            sequence=max(poll.last_sequence + 1, poll.now_ms),
            issued_at=now,
            expires=now + DOCUMENT_LIFE_S,
            root_version=root_version,
            poll_after_s=self._poll_after_s,
            components=content.components,
        )
        return document.sign(self._key_of(poll.session.organization)).to_bytes()
