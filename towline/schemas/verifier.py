"""What a device believes: bytes in, a DesiredState or Refused out. No clock, file or socket.

The order of checks is that of the trust manual, section "Verification on the device"; the numbers
in the comments are its steps. All components pass, or the whole document is refused.
"""

import hashlib
from dataclasses import dataclass, field, replace

from towline.schemas import desired_state, envelope, statement
from towline.schemas.desired_state import ComponentWanted, DesiredState
from towline.schemas.problems import Refused
from towline.schemas.root import Root
from towline.schemas.statement import Statement

DAY_S = 86400
LIFE_LIMIT_S = 7 * DAY_S
CLOCK_TOLERANCE_S = 300
BUILT_AT = 1_793_491_200
"""2026-11-01: no document is older than this version, which is where the time floor begins."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who the device is: a document for anyone else is refused."""

    organization: str
    device: str
    keyid: str
    device_type: str


@dataclass(frozen=True, slots=True)
class TrustState:
    """What the device remembers between documents; written before it acts on one."""

    sequence: int = 0
    """The highest sequence accepted."""
    time_floor: int = BUILT_AT
    """No time before this is believed, in seconds since the epoch."""
    rollback_indexes: dict[str, int] = field(default_factory=dict)
    """Per component, the highest index that was committed by a health check."""
    online_keyids: tuple[str, ...] = ()
    """Whose documents brought sequence and time here; empty: nobody's yet."""

    def under(self, root: Root) -> "TrustState":
        """What of it counts under a root.

        Other online keys end what an old one may have done to sequence and time: TUF's recovery
        from fast-forward.
        """
        keyids = tuple(sorted(key.keyid for key in root.online.keys))
        if self.online_keyids in ((), keyids):
            return replace(self, online_keyids=keyids)
        return TrustState(rollback_indexes=dict(self.rollback_indexes), online_keyids=keyids)  # 3d


@dataclass(frozen=True, slots=True)
class Clock:
    """The time as the device knows it, in seconds since the epoch."""

    now: int
    is_synchronised: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that passed every check, and the statements of its components by name."""

    document: DesiredState
    statements: dict[str, Statement]
    trust: TrustState
    """To be stored before anything is done."""


def verify(
    data: bytes,
    *,
    root: Root,
    identity: DeviceIdentity,
    trust: TrustState,
    nonce: str,
    clock: Clock,
) -> Accepted:
    """The document, once everything in it is true; raises Refused with the code to report."""
    trust = trust.under(root)
    now = max(trust.time_floor, clock.now if clock.is_synchronised else 0)  # 1
    if root.expires <= now:  # 4
        raise Refused("root-expired")
    sealed = envelope.parse(data)  # 6
    payload = sealed.verify(
        desired_state.DESIRED_STATE_TYPE, root.online.keys, root.online.threshold
    )
    document = desired_state.parse_payload(payload)  # 6, 7
    _check_addressee(document, identity, nonce)
    _check_sequence(document, trust)
    _check_times(document, root, trust, clock, now)
    if document.root_version > root.version:  # 12
        raise Refused("root-version", f"the document needs root {document.root_version}")
    statements = _check_components(document, root, identity, trust)
    return Accepted(
        document,
        statements,
        replace(
            trust,
            sequence=document.sequence,
            time_floor=max(trust.time_floor, document.issued_at),
        ),
    )


def _check_addressee(document: DesiredState, identity: DeviceIdentity, nonce: str) -> None:
    if document.organization != identity.organization:  # 8
        raise Refused("wrong-org", document.organization)
    if (document.device, document.device_key) != (identity.device, identity.keyid):
        raise Refused("wrong-device", document.device)
    if document.nonce != nonce:  # 9
        raise Refused("nonce")


def _check_sequence(document: DesiredState, trust: TrustState) -> None:
    if document.sequence < trust.sequence:  # 10
        raise Refused("rollback", f"{document.sequence} after {trust.sequence}")
    if document.sequence > (document.issued_at + DAY_S) * 1000:
        raise Refused("fast-forward", str(document.sequence))


def _check_times(
    document: DesiredState, root: Root, trust: TrustState, clock: Clock, now: int
) -> None:
    life = document.expires - document.issued_at  # 11
    if not 0 < life <= LIFE_LIMIT_S:
        raise Refused("lifetime", f"{life} s")
    if document.issued_at < trust.time_floor - CLOCK_TOLERANCE_S:
        raise Refused("past")
    if clock.is_synchronised and document.issued_at > now + CLOCK_TOLERANCE_S:
        raise Refused("future")
    if document.expires <= now:
        raise Refused("expired")
    if document.issued_at >= root.expires:
        raise Refused("beyond-root")


def _check_components(
    document: DesiredState, root: Root, identity: DeviceIdentity, trust: TrustState
) -> dict[str, Statement]:
    names = [component.name for component in document.components]  # 13
    if len(set(names)) != len(names):
        raise Refused("duplicate-component")
    return {
        component.name: check_component(component, root, identity, trust)
        for component in document.components
    }


def check_component(
    component: ComponentWanted, root: Root, identity: DeviceIdentity, trust: TrustState
) -> Statement:
    """What the release keys say of one component; raises Refused unless this device may have it."""
    word = statement.verify(component.statement, root.release)
    if word.organization != identity.organization:
        raise Refused("wrong-org", word.organization)
    if (word.component, word.version, word.sha256, word.size) != (
        component.name,
        component.version,
        component.sha256,
        component.size,
    ):
        raise Refused("mix-and-match", component.name)
    if word.format not in statement.FORMATS:
        raise Refused("unsupported-format", word.format)
    if word.device_types and identity.device_type not in word.device_types:
        raise Refused("wrong-device-type", identity.device_type)
    if word.rollback_index < trust.rollback_indexes.get(component.name, 0):
        raise Refused("rollback-index", component.name)
    return word


def root_fingerprint(data: bytes) -> str:
    """`sha256:<hex>` of a root as it is served; the join string carries it for version 1."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
