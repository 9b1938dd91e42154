"""Who this device is, and how it becomes known: the key that it makes itself, and enrolment."""

import json
from dataclasses import dataclass

import towline
from towline.agent import durable, trust_store
from towline.agent.layout import Layout
from towline.agent.server import Denied, Server
from towline.schemas import root as roots
from towline.schemas import verifier
from towline.schemas.enrolment import EnrolmentRequest, JoinString
from towline.schemas.identifiers import is_id
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem, Refused
from towline.schemas.verifier import DeviceIdentity

DEFAULT_DEVICE_TYPE = "generic"


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled device."""

    device: str
    organization: str
    device_type: str
    server: str
    key: PrivateKey

    def claims(self) -> DeviceIdentity:
        """What a document must be addressed to."""
        return DeviceIdentity(
            self.organization, self.device, self.key.public.keyid, self.device_type
        )

    def request(self) -> EnrolmentRequest:
        """What asks a server to know this device."""
        version = towline.__version__
        return EnrolmentRequest(
            self.organization, self.device, self.key.public, self.device_type, version
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How an enrolment went."""

    identity: Identity
    fingerprint: str = ""
    """Not empty while a person must approve: what to compare."""
    is_key_change: bool = False
    """The id is that of a device with another key, whose place this one would take."""


def load(layout: Layout) -> Identity:
    """The identity that is stored; raises Problem when the device is not enrolled."""
    try:
        document = json.loads((layout.identity / "device.json").read_bytes())
        names = ("id", "organization", "deviceType", "server")
        fields = [str(document[name]) for name in names]
    except FileNotFoundError:
        remedy = f"towline-agent enroll 'JOIN' --root {layout.root}"
        raise Problem(f"no device is enrolled in {layout.root}", remedy=remedy) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(f"the identity in {layout.root} cannot be read: {error}") from None
    device, organization, device_type, server = fields
    if not is_id(device) or not is_id(organization):
        raise Problem(f"the identity in {layout.root} names no device of an organization")
    key = PrivateKey.load(layout.identity / "key.pem")
    return Identity(device, organization, device_type, server, key)


def enrol(
    layout: Layout, join: JoinString, device: str | None, device_type: str | None
) -> Enrolment:
    """Make a key, check root and certificate against the join string, and ask to be known.

    Raises Problem, Unreachable or Denied; nothing is trusted unless all of it was true.
    """
    if (layout.identity / "device.json").exists():
        known = load(layout)
        raise Problem(
            f"{layout.root} is enrolled already, as {known.device} of {known.organization}",
            remedy="use another --root, or remove that folder to begin anew",
        )
    if device is not None and not is_id(device):
        raise Problem(f"{device!r} is no id", remedy="use a-z, 0-9, '.', '_', '-', at most 63")
    server = Server(join.server, join.organization, join.certificate)
    try:
        return _enrol(layout, join, server, device, device_type or DEFAULT_DEVICE_TYPE)
    finally:
        server.close()


def _enrol(
    layout: Layout, join: JoinString, server: Server, device: str | None, device_type: str
) -> Enrolment:
    root = _first_root(server, join)
    certificate = server.certificate() if join.certificate else None
    layout.make()
    key = _key(layout)
    identity = Identity(
        device=device or f"d-{key.public.keyid[:16]}",
        organization=join.organization,
        device_type=device_type,
        server=join.server,
        key=key,
    )
    try:
        answer = server.enrol(identity.request(), key, join.token)
    except Denied as denied:
        raise _explained(denied, identity.device) from None
    trust_store.store_first_root(layout, root)
    if certificate is not None:
        trust_store.store_certificate(layout, certificate)
    _store(layout, identity)
    pending = answer.get("status") == "pending"
    shown = str(answer.get("fingerprint") or "?") if pending else ""
    return Enrolment(identity, shown, is_key_change=answer.get("keyChange") is True)


def _first_root(server: Server, join: JoinString) -> bytes:
    try:
        data = server.root(1)
        if data is None:
            raise Problem(f"{join.server} has no root of trust", remedy="towline trust publish")
        if verifier.root_fingerprint(data) != join.root:
            raise Refused("root-hash", "the server's root is not the one that the line names")
        roots.trust_first(data, join.organization)
    except Refused as refused:
        raise Problem(
            f"{join.server} is not the server of this join string: {refused}",
            remedy="get a new line with `towline join create`; if it stays so, someone is between",
        ) from None
    return data


def _key(layout: Layout) -> PrivateKey:
    """The device's key; one made by an enrolment that failed is used again."""
    path = layout.identity / "key.pem"
    if not path.exists():
        durable.write_file(path, PrivateKey.generate().pem())
    return PrivateKey.load(path)


def _store(layout: Layout, identity: Identity) -> None:
    document = {
        "id": identity.device,
        "organization": identity.organization,
        "deviceType": identity.device_type,
        "server": identity.server,
    }
    durable.write_file(layout.identity / "device.json", json.dumps(document, indent=1).encode())


def _explained(denied: Denied, device: str) -> Exception:
    if denied.code in ("join-token", "unknown-join-token"):
        return NotAuthorised(
            "the token of this join string is unknown, used or expired",
            remedy="get a new line with `towline join create`",
        )
    if denied.code == "id-taken":
        return Problem(
            f"the id {device} belongs to a device with another key",
            remedy="choose another with --id, or let an admin replace that device",
        )
    if denied.status in (401, 403):
        return NotAuthorised(f"the server refuses this device: {denied}")
    return Problem(f"the server refuses the enrolment: {denied}")


class NotAuthorised(Problem):
    """The server knows us or our token, and will not have us."""
