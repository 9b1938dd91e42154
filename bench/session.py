"""Sessions that both Towline and its twins know."""

import hashlib


def session_of(seq: int) -> str:
    """The token of a device; as long as real ones."""
    return f"session-of-the-device-{seq:021}"


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


ORGANIZATION = "acme"
"""Of the simulation that fills stores, which no server is to load for its name."""
