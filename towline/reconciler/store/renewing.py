"""A device's next key, for which the former one vouches."""

from sqlalchemy import Connection

from towline.reconciler.store import device_keys
from towline.reconciler.store.access import find_device
from towline.reconciler.store.git_devices import GitDevice
from towline.schemas.envelope import Envelope
from towline.schemas.problems import Refused
from towline.schemas.renewal import RenewalRequest


def renew(
    connection: Connection, sealed: Envelope, request: RenewalRequest, git: GitDevice | None
) -> bool:
    """Give the device its new key; False when it has it already, after an answer that was lost.

    Raises Refused `unknown-device`, `threshold`, `revoked`, `duplicate-identity` or `key-in-git`.
    """
    asked = request.enrolment
    device = find_device(connection, asked.organization, asked.device)
    if device is None or device.key is None:
        raise Refused("unknown-device")
    if device.key == asked.public_key:
        device.demand_active()
        return False
    request.verify(sealed, device.key)
    device.demand_active()
    if git is not None and git.public_key is not None:
        raise Refused("key-in-git", "git lists the key of this device: change it there")
    device_keys.renew_key(connection, device.seq, asked.public_key)
    return True
