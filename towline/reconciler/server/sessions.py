"""The devices' sessions in memory: who a bearer token speaks for, without a look at the store."""

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from sqlalchemy import Row, Select, select

from towline.reconciler.server.traces import Traces
from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import edge_devices, sessions
from towline.schemas.keys import PublicKey

ASKED_AT_ONCE = 4
"""Tokens that nobody here knows: strangers must not keep the store at work."""
TRIES = 3
READ_AT_ONCE = 1000
"""Rows of the store that are held beside the sessions that are made of them."""


@dataclass(slots=True)
class Session:
    """A device whose key was checked. What is said when it is made does not change."""

    device_seq: int
    slug: str
    keyid: str
    expires_at: int
    organization: str
    traces: Traces = field(init=False, compare=False)
    """Of the device: its next session takes them over."""
    is_live: bool = field(init=False, compare=False, default=False)
    """It has begun, and was neither ended nor replaced."""

    def __post_init__(self) -> None:
        self.traces = Traces(self.device_seq)


class Sessions:
    """Live sessions by the digest of their token; one per device."""

    def __init__(self, elsewhere: Store | None = None) -> None:
        """`elsewhere`: the store in which other processes open sessions, too."""
        self._elsewhere = elsewhere
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._changes = 0
        self._by_digest: dict[bytes, Session] = {}
        self._digests: dict[int, bytes] = {}
        self._expected: dict[int, tuple[bytes, Session]] = {}
        """By device: what is being written, or failed to be."""
        self._left: dict[int, Traces] = {}
        """By device: what an ended session leaves to the next one."""
        self._lock = threading.RLock()

    def load(self, store: Store) -> None:
        """The sessions that the store knows, and no others: at the start, or after an outage."""
        ended = set(self._digests)
        with store.read() as connection:
            rows = connection.execute(_SESSIONS, execution_options={"yield_per": READ_AT_ONCE})
            for row in rows:
                if row.public_key is not None:
                    ended.discard(row.device_seq)
                    self._put(bytes.fromhex(row.digest), _session(row))
        self.replace(dict.fromkeys(ended, ""))

    def expect(self, token: str, session: Session) -> None:
        """It is being written; once it is told of it begins, and the device's former one ends."""
        with self._lock:
            self._expected[session.device_seq] = (_digest(token.encode()), session)

    def find(self, token: bytes, now: int) -> Session | None:
        """Whom the token speaks for, as it came over the line."""
        session = self._by_digest.get(_digest(token))
        return session if session is not None and session.expires_at > now else None

    async def look_up(self, token: bytes, now: int) -> Session | None:
        """As `find`, of one that may have been opened at another process."""
        if self._elsewhere is None:
            return None
        async with self._asking:
            await asyncio.to_thread(self._read, self._elsewhere, _digest(token))
        return self.find(token, now)

    def _read(self, store: Store, digest: bytes) -> None:
        """Take it from the store, unless another change came in between: then it is asked again."""
        for _ in range(TRIES):
            changes = self._changes
            with store.read() as connection:
                row = connection.execute(_SESSIONS.where(sessions.c.digest == digest.hex())).first()
            if row is None or row.public_key is None:
                return
            with self._lock:
                if changes == self._changes:
                    self._put(digest, _session(row))
                    return

    def replace(self, digests: Mapping[int, str]) -> None:
        """End the sessions of these devices that are not the one of that digest."""
        with self._lock:
            self._changes += 1
            for device_seq, written in digests.items():
                digest = bytes.fromhex(written)
                awaited, session = self._expected.get(device_seq, (b"", None))
                if session is not None and awaited == digest:
                    del self._expected[device_seq]
                    self._put(digest, session)
                elif self._digests.get(device_seq, digest) != digest:
                    self._end(device_seq)

    def _put(self, digest: bytes, session: Session) -> None:
        with self._lock:
            self._changes += 1
            if self._by_digest.get(digest) == session:
                return  # Read anew: whoever waits in it goes on.
            if session.device_seq in self._digests:
                self._end(session.device_seq)
            if (traces := self._left.pop(session.device_seq, None)) is not None:
                session.traces = traces
            self._digests[session.device_seq] = digest
            self._by_digest[digest] = session
            session.is_live = True

    def _end(self, device_seq: int) -> None:
        session = self._by_digest.pop(self._digests.pop(device_seq))
        session.is_live = False
        self._left[device_seq] = session.traces


_SESSIONS: Select[Any] = select(
    sessions.c.device_seq,
    sessions.c.digest,
    sessions.c.expires_at,
    edge_devices.c.slug,
    edge_devices.c.public_key,
    edge_devices.c.organization,
).join(edge_devices, edge_devices.c.seq == sessions.c.device_seq)


def _digest(token: bytes) -> bytes:
    """As `secret_digest`, in half the room, of a token as it came over the line."""
    return hashlib.sha256(token).digest()


def _session(row: Row[Any]) -> Session:
    keyid = keyid_of(row.public_key)
    return Session(row.device_seq, row.slug, keyid, row.expires_at, intern(row.organization))


def keyid_of(public_key_hex: str) -> str:
    """The key id of a stored public key."""
    return PublicKey.from_hex(public_key_hex).keyid
