"""The devices' sessions in memory: who a bearer token speaks for, without a look at the store."""

import threading
from dataclasses import dataclass

from sqlalchemy import select

from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import edge_devices, sessions
from towline.schemas.enrolment import secret_digest
from towline.schemas.keys import PublicKey

NONCE_LIFE_S = 600
PRUNE_LEAST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """A device whose key was checked."""

    device_seq: int
    slug: str
    keyid: str
    expires_at: int
    organization: str


class Sessions:
    """Live sessions by the digest of their token; one per device."""

    def __init__(self) -> None:
        self._by_digest: dict[str, Session] = {}
        self._digests: dict[int, str] = {}
        self._nonces: dict[tuple[int, str], int] = {}
        self._prune_at = PRUNE_LEAST
        self._lock = threading.Lock()

    def load(self, store: Store) -> None:
        """After a restart: the sessions that the store knows."""
        with store.read() as connection:
            rows = connection.execute(
                select(
                    sessions,
                    edge_devices.c.slug,
                    edge_devices.c.public_key,
                    edge_devices.c.organization,
                ).join(edge_devices, edge_devices.c.seq == sessions.c.device_seq)
            ).all()
        for row in rows:
            if row.public_key is not None:
                keyid = keyid_of(row.public_key)
                who = (row.device_seq, row.slug, keyid, row.expires_at, row.organization)
                self._put(row.digest, Session(*who))

    def open(self, token: str, session: Session) -> None:
        """The device's new session; its former one ends."""
        self._put(secret_digest(token), session)

    def find(self, token: str, now: int) -> Session | None:
        """Whom the token speaks for."""
        session = self._by_digest.get(secret_digest(token))
        return session if session is not None and session.expires_at > now else None

    def end(self, device_seqs: set[int]) -> None:
        """End the sessions of devices; from any thread."""
        with self._lock:
            for device_seq in device_seqs:
                self._by_digest.pop(self._digests.pop(device_seq, ""), None)

    def is_live(self, session: Session) -> bool:
        """True while the session was neither ended nor replaced."""
        return self._by_digest.get(self._digests.get(session.device_seq, "")) is session

    def is_fresh(self, device_seq: int, nonce: str, now: int) -> bool:
        """True once per nonce of a device, for as long as its envelope would be believed."""
        key = (device_seq, nonce)
        with self._lock:
            if len(self._nonces) >= self._prune_at:
                self._nonces = {known: at for known, at in self._nonces.items() if at > now}
                self._prune_at = 2 * len(self._nonces) + PRUNE_LEAST
            if self._nonces.get(key, 0) > now:
                return False
            self._nonces[key] = now + NONCE_LIFE_S
            return True

    def _put(self, digest: str, session: Session) -> None:
        with self._lock:
            former = self._digests.get(session.device_seq)
            if former is not None:
                self._by_digest.pop(former, None)
            self._digests[session.device_seq] = digest
            self._by_digest[digest] = session


def keyid_of(public_key_hex: str) -> str:
    """The key id of a stored public key."""
    return PublicKey.from_hex(public_key_hex).keyid
