"""The nonces of session requests: each opens one session, at whichever process it arrives."""

from sqlalchemy import Connection, bindparam, delete

from towline.reconciler.store.tables import session_nonces
from towline.reconciler.store.upserts import insert_ignoring
from towline.schemas.enrolment import secret_digest
from towline.schemas.problems import Refused

LIFE_S = 600
"""For as long as a request would be believed: its time may be off by half of it either way."""

_FORGET = delete(session_nonces).where(
    session_nonces.c.device_seq == bindparam("of_device"),
    session_nonces.c.expires_at <= bindparam("now"),
)


def use(connection: Connection, device_seq: int, nonce: str, now: int) -> None:
    """Use it up; raises Refused `nonce-reused`."""
    row = {"device_seq": device_seq, "nonce": secret_digest(nonce), "expires_at": now + LIFE_S}
    adding = insert_ignoring(connection, session_nonces).values(**row)
    if connection.execute(adding.returning(session_nonces.c.nonce)).first() is None:
        raise Refused("nonce-reused")
    connection.execute(_FORGET, {"of_device": device_seq, "now": now})
