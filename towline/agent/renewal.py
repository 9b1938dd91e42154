"""The device's next key: made beside the one in use, and taken once the server knows it.

It lies in `identity/key.next.pem` from its making until it is in use, so that a stop at any moment
leaves a key that the server knows. The key before stays as `key.former.pem`: a server that was
restored from a copy of last week knows that one.
"""

import hashlib
from pathlib import Path

from towline.agent import durable
from towline.agent.layout import Layout
from towline.schemas.keys import PrivateKey

KEY_LIFE_S = 365 * 86400
RETRY_S = 86400
"""After a refusal the next try comes no sooner."""


def next_key(layout: Layout) -> PrivateKey | None:
    """The key that is to be taken; None when none was made."""
    return _load(_next(layout))


def former_key(layout: Layout) -> PrivateKey | None:
    """The key before the one in use; None before the first renewal."""
    return _load(layout.identity / "key.former.pem")


def begin(layout: Layout) -> PrivateKey:
    """Make the next key, unless there is one already."""
    if (found := next_key(layout)) is not None:
        return found
    durable.write_file(_next(layout), PrivateKey.generate().pem())
    return PrivateKey.load(_next(layout))


def take(layout: Layout) -> None:
    """The server knows the next key: use it from now on."""
    path, following = layout.identity / "key.pem", _next(layout)
    old, new = path.read_bytes(), following.read_bytes()
    if old != new:
        durable.write_file(layout.identity / "key.former.pem", old)
        durable.write_file(path, new)
    drop(layout)


def drop(layout: Layout) -> None:
    """Forget the next key."""
    _next(layout).unlink(missing_ok=True)
    durable.sync_folder(layout.identity)


def is_due(layout: Layout, device: str, now: float) -> bool:
    """True when the key is old; a fleet that was enrolled in one day does not renew in one.

    A clock that was wrong when the key was made costs one renewal at most.
    """
    spread = hashlib.sha256(device.encode()).digest()[0] / 255
    age_s = now - (layout.identity / "key.pem").stat().st_mtime
    return age_s > KEY_LIFE_S * (0.8 + 0.2 * spread)


def _next(layout: Layout) -> Path:
    return layout.identity / "key.next.pem"


def _load(path: Path) -> PrivateKey | None:
    return PrivateKey.load(path) if path.exists() else None
