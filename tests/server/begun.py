"""A device's session as one begins that was written."""

from towline.reconciler.server.sessions import Session, Sessions
from towline.schemas.enrolment import secret_digest


def begin(sessions: Sessions, token: str, session: Session) -> None:
    """The session of that token begins; the device's former one ends."""
    sessions.expect(token, session)
    sessions.replace({session.device_seq: secret_digest(token)})
