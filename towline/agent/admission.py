"""The device and the server's door: its key is renewed, and asked for again where it is unknown."""

import time
from dataclasses import replace

from towline.agent import renewal
from towline.agent.device import LOG, Device
from towline.agent.server import Denied
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.renewal import RenewalRequest

ASKED_AGAIN_S = 3600
"""A request that waits is made again so often: the server forgets it after a day."""
_MAY_HELP_LATER = frozenset({"unknown-device", "revoked", "duplicate-identity"})
"""Refusals of a renewal that are of the device, and not of its next key."""


def renew_key(device: Device) -> None:
    """Take the next key when it is time to, or when a person asked for it.

    Raises Unreachable, Denied or Refused; the key in use stays then.
    """
    layout = device.layout
    new = renewal.next_key(layout)
    if new is None and not _is_due(device):
        return
    new = new or renewal.begin(layout)
    old = device.identity.key
    if new.public != old.public:
        try:
            device.server.renew(_renewal(device, old.public, new.public), old, new)
        except Denied as denied:
            if denied.code in _MAY_HELP_LATER:
                raise
            LOG.warning("the server does not renew the key: %s", denied)
            renewal.drop(layout)
            device.next_renewal = time.monotonic() + renewal.RETRY_S
            return
    renewal.take(layout)
    device.identity = replace(device.identity, key=new)
    device.server.close_session()
    LOG.info("the key of this device was renewed")


def _is_due(device: Device) -> bool:
    if device.journal.state.attempt is not None or time.monotonic() < device.next_renewal:
        return False
    return renewal.is_due(device.layout, device.identity.device, device.timekeeper.now())


def ask_again(device: Device) -> bool:
    """The server does not know the key: a request waits or was forgotten, or it was restored.

    True while a person must approve. Raises Unreachable, Denied or Refused.
    """
    if time.monotonic() < device.asks_again_at:
        return True
    key = device.identity.key
    former = renewal.former_key(device.layout)
    if former is not None and _is_renewed_again(device, former):
        return False
    answer = device.server.enrol(device.identity.request(), key, None)
    if answer.get("status") != "pending":
        return False
    LOG.warning("waits for approval, fingerprint %s", answer.get("fingerprint"))
    device.asks_again_at = time.monotonic() + ASKED_AGAIN_S
    return True


def _is_renewed_again(device: Device, former: PrivateKey) -> bool:
    """True when the server knew the former key, and knows the one in use now."""
    key = device.identity.key
    try:
        device.server.renew(_renewal(device, former.public, key.public), former, key)
    except Denied:
        return False
    return True


def _renewal(device: Device, old: PublicKey, new: PublicKey) -> RenewalRequest:
    return RenewalRequest(old.keyid, _enrolment(device, new))


def _enrolment(device: Device, key: PublicKey) -> EnrolmentRequest:
    return replace(device.identity.request(), public_key=key)
