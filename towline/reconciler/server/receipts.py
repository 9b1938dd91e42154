"""Receipts: what the server acknowledged, in its own hand, kept by the devices.

A store that is put back to an older copy of itself has forgotten what came since. The devices bring
their receipts along, and only the server could have written one: who lies proves nothing. A receipt
says up to where a device was heard, which grows whatever the device does: who shows an old one
proves nothing either, whichever journal and key it has now.
"""

import hmac
import re
from collections.abc import Callable
from hashlib import sha256

from towline.reconciler.server.sessions import Session
from towline.schemas import envelope
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Acknowledged, Heard

RECEIPT_TYPE = "application/vnd.towline.receipt.v2"
_RECEIPT = re.compile(r"(\d{1,18})\.([1-9]\d{0,18})\.(\d{1,12})\.([0-9a-f]{64})")


class Receipts:
    """Writes receipts and knows them again, also after a start and in another process."""

    def __init__(self, key_of: Callable[[str], PrivateKey | None]) -> None:
        """`key_of`: what signs for an organization, if there is such a key now."""
        self._key_of = key_of
        self._begun: dict[tuple[str, bytes], hmac.HMAC] = {}
        """With the secret taken in, which takes as long as a receipt itself."""

    def write(self, session: Session, heard: Heard, now: int) -> str:
        """A receipt for what was heard of the device; empty where no key can write one."""
        mark = self._mark(session, heard, now)
        return f"{heard.journals}.{heard.report_seq}.{now}.{mark}" if mark else ""

    def read(self, session: Session, text: str) -> Acknowledged | None:
        """What was acknowledged; None for what is no receipt of this device."""
        found = _RECEIPT.fullmatch(text)
        if found is None:
            return None
        heard, at = Heard(int(found[1]), int(found[2])), int(found[3])
        mark = self._mark(session, heard, at)
        return Acknowledged(heard, at) if hmac.compare_digest(found[4], mark) else None

    def _mark(self, session: Session, heard: Heard, at: int) -> str:
        begun = self._keyed(session.organization)
        if begun is None:
            return ""
        mark = begun.copy()
        mark.update(f"{session.slug}\0{heard.journals}\0{heard.report_seq}\0{at}".encode())
        return mark.hexdigest()

    def _keyed(self, organization: str) -> hmac.HMAC | None:
        """By a secret that is the same for the same online key: Ed25519 signs the same bytes so."""
        key = self._key_of(organization)
        if key is None:
            return None
        which = (organization, key.public.raw)
        if which not in self._begun:
            named = envelope.pre_authentication_encoding(RECEIPT_TYPE, organization.encode())
            secret = sha256(key.sign(named)).digest()
            self._begun[which] = hmac.new(secret, digestmod=sha256)
        return self._begun[which]
