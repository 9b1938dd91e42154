"""Receipts: what the server acknowledged, in its own hand, kept by the devices.

A store that is put back to an older copy of itself has forgotten what came since. The devices bring
their receipts along, and only the server could have written one: who lies proves nothing.
"""

import hashlib
import hmac
import re
from collections.abc import Callable

from towline.reconciler.server.sessions import Session
from towline.schemas import envelope
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Acknowledged, Report

RECEIPT_TYPE = "application/vnd.towline.receipt.v1"
_RECEIPT = re.compile(r"([1-9]\d{0,18})\.(\d{1,12})\.([0-9a-f]{64})")


class Receipts:
    """Writes receipts and knows them again, also after a start and in another process."""

    def __init__(self, key_of: Callable[[str], PrivateKey | None]) -> None:
        """`key_of`: what signs for an organization, if there is such a key now."""
        self._key_of = key_of
        self._secrets: dict[tuple[str, bytes], bytes] = {}

    def write(self, session: Session, report: Report, now: int) -> str:
        """A receipt for the device's reports up to this one; empty where no key can write one."""
        mark = self._mark(session, report.journal, report.report_seq, now)
        return f"{report.report_seq}.{now}.{mark}" if mark else ""

    def read(self, session: Session, journal: str, text: str) -> Acknowledged | None:
        """What was acknowledged; None for what is no receipt of this device and journal."""
        found = _RECEIPT.fullmatch(text)
        if found is None:
            return None
        report_seq, at = int(found[1]), int(found[2])
        mark = self._mark(session, journal, report_seq, at)
        return Acknowledged(report_seq, at) if hmac.compare_digest(found[3], mark) else None

    def _mark(self, session: Session, journal: str, report_seq: int, at: int) -> str:
        secret = self._secret(session.organization)
        if secret is None:
            return ""
        said = "\0".join((session.slug, session.keyid, journal, str(report_seq), str(at)))
        return hmac.digest(secret, said.encode(), "sha256").hex()

    def _secret(self, organization: str) -> bytes | None:
        """The same for the same online key: Ed25519 signs the same bytes the same way."""
        key = self._key_of(organization)
        if key is None:
            return None
        which = (organization, key.public.raw)
        if which not in self._secrets:
            named = envelope.pre_authentication_encoding(RECEIPT_TYPE, organization.encode())
            self._secrets[which] = hashlib.sha256(key.sign(named)).digest()
        return self._secrets[which]
