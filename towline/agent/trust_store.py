"""What the device believes, on disk: the roots, the highest sequence, the last accepted document.

A document is stored with the nonce it answered, so that it is verified again when it is read: what
lies on the disk is trusted no more than what comes by wire.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from towline.agent import durable
from towline.agent.layout import Layout
from towline.schemas import root as roots
from towline.schemas import verifier
from towline.schemas.problems import Problem, Refused
from towline.schemas.root import Root
from towline.schemas.verifier import Accepted, Clock, DeviceIdentity, TrustState

ROOTS_LIMIT = 64
"""New roots followed in one go."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The last accepted document, as bytes, with what it takes to verify it again."""

    envelope: bytes
    nonce: str
    etag: str


class TrustStore:
    """The files in `trust/`; every change is durable before it is used."""

    def __init__(self, layout: Layout, organization: str) -> None:
        self._layout = layout
        self._folder = layout.trust
        self._organization = organization
        self.root = self._newest_root()
        self.state, self.stored = self._read()
        self.state = self.state.under(self.root)

    def _newest_root(self) -> Root:
        """Of a root that the disk has spoilt the one before counts: it is followed once more."""
        numbers = sorted(int(path.stem) for path in (self._folder / "root").glob("[1-9]*.json"))
        if not numbers:
            raise Problem("this device trusts nobody yet", remedy="towline-agent enroll JOIN")
        problem = ""
        for number in reversed(numbers):
            try:
                data = (self._folder / "root" / f"{number}.json").read_bytes()
                return roots.trust_first(data, self._organization)
            except (OSError, Refused) as error:
                problem = problem or f"the stored root {number} is not valid: {error}"
        raise Problem(problem, remedy="enrol this device anew, in an empty folder")

    def _read(self) -> tuple[TrustState, StoredDocument | None]:
        """State and document; what a broken disk has spoilt is begun anew, as after a wipe.

        A nonce keeps an old document away then, and the indexes are those of what runs.
        """
        try:
            document = json.loads((self._folder / "state.json").read_bytes())
            state = TrustState(
                int(document["sequence"]),
                int(document["timeFloor"]),
                {str(name): int(index) for name, index in document["rollbackIndexes"].items()},
                tuple(map(str, document.get("onlineKeys", ()))),
            )
            desired = document["desired"]
            stored = None if desired is None else _stored(desired)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return TrustState(rollback_indexes=_committed(self._layout)), None
        return state, stored

    def write(self, state: TrustState, stored: StoredDocument | None) -> None:
        """Replace state and document in one write."""
        desired = None
        if stored is not None:
            envelope = base64.b64encode(stored.envelope).decode()
            desired = {"envelope": envelope, "nonce": stored.nonce, "etag": stored.etag}
        document: dict[str, Any] = {
            "sequence": state.sequence,
            "timeFloor": state.time_floor,
            "rollbackIndexes": state.rollback_indexes,
            "onlineKeys": state.online_keyids,
            "desired": desired,
        }
        durable.write_file(self._folder / "state.json", json.dumps(document).encode())
        self.state, self.stored = state, stored

    def raise_rollback_index(self, component: str, index: int) -> None:
        """After a commit: nothing below `index` will be accepted for this component again."""
        indexes = dict(self.state.rollback_indexes)
        if index > indexes.get(component, 0):
            self.write(
                replace(self.state, rollback_indexes=indexes | {component: index}), self.stored
            )

    def accept(
        self, data: bytes, identity: DeviceIdentity, nonce: str, clock: Clock, etag: str
    ) -> Accepted:
        """Verify and store a document; raises Refused and then changes nothing."""
        accepted = verifier.verify(
            data,
            root=self.root,
            identity=identity,
            trust=self.state,
            nonce=nonce,
            clock=clock,
        )
        self.write(accepted.trust, StoredDocument(data, nonce, etag))
        return accepted

    def recall(self, identity: DeviceIdentity, clock: Clock) -> Accepted | None:
        """The stored document, verified again; None when there is none or it is not valid now."""
        if self.stored is None:
            return None
        try:
            return verifier.verify(
                self.stored.envelope,
                root=self.root,
                identity=identity,
                trust=self.state,
                nonce=self.stored.nonce,
                clock=clock,
            )
        except Refused:
            return None

    def follow(self, fetch: Callable[[int], bytes | None]) -> bool:
        """Take every newer root that the chain rule allows; True when there was one.

        Each is stored before the next is asked for. What was stored of the old online keys is kept
        with their ids, so that it counts no more under a root that names others.
        """
        before = self.root.version
        for number in range(before + 1, before + 1 + ROOTS_LIMIT):
            data = fetch(number)
            if data is None:
                break
            new = roots.succeed(self.root, data)
            durable.write_file(self._folder / "root" / f"{number}.json", data)
            self.root = new
            self.state = self.state.under(new)
        return self.root.version > before


def _committed(layout: Layout) -> dict[str, int]:
    """The rollback index of what each component runs: it was committed."""
    running = ((name, layout.current(name)) for name in layout.components())
    return {name: release.rollback_index for name, release in running if release is not None}


def _stored(document: dict[str, Any]) -> StoredDocument:
    envelope = base64.b64decode(document["envelope"], validate=True)
    return StoredDocument(envelope, str(document["nonce"]), str(document["etag"]))


def store_first_root(layout: Layout, data: bytes) -> None:
    """Keep root 1, once its hash was compared."""
    durable.write_file(layout.trust / "root" / "1.json", data)


def hosts(layout: Layout) -> tuple[str, ...]:
    """The hosts that this device may have packages from, by its owner's own list; empty: any."""
    try:
        lines = (layout.trust / "hosts").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise Problem(f"the list of package hosts cannot be read: {error}") from None
    names = (line.partition("#")[0].strip().lower() for line in lines)
    return tuple(name for name in names if name)


def store_certificate(layout: Layout, der: bytes) -> None:
    """Keep the server's certificate as the only one for the server's own addresses."""
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    durable.write_file(layout.trust / "server.pem", pem)


def pin(layout: Layout) -> str | None:
    """`sha256:<hex>` of the kept certificate; None when public authorities vouch for it."""
    try:
        der = ssl.PEM_cert_to_DER_cert((layout.trust / "server.pem").read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Problem(f"the server's certificate cannot be read: {error}") from None
    return f"sha256:{hashlib.sha256(der).hexdigest()}"
