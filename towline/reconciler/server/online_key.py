"""The key that signs an organization's documents, as long as the newest root names it.

When a root names another one the key's file is read again: an operator puts the new key there, and
the server goes on without a start. Until then nothing is signed, because devices would refuse it.
"""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.schemas.root import Root

LOOK_AGAIN_S = 1.0

log = structlog.get_logger()


class OnlineKey:
    """One file, and the key that was read from it last."""

    def __init__(self, file: Path, passphrase: Callable[[Path], bytes] | None = None) -> None:
        """Read it; raises Problem. `passphrase` is asked once, for a file that is encrypted."""
        self.file = file
        self._passphrase = passphrase
        self._secret: bytes | None = None
        self._key = PrivateKey.load(file, self._ask if passphrase else None)
        self._looked_at = 0.0
        self._told: Root | None = None

    def names(self, root: Root) -> bool:
        """True when `root` names the key that is at hand."""
        return self._key.public in root.online.keys

    def keyid(self) -> str:
        """Of the key at hand, short."""
        return self._key.public.keyid[:12]

    def under(self, root: Root) -> PrivateKey | None:
        """What signs under `root`; None when it names no key that is here."""
        if not self.names(root):
            self._look_again(root)
        return self._key if self.names(root) else None

    def _look_again(self, root: Root) -> None:
        if time.monotonic() - self._looked_at < LOOK_AGAIN_S:
            return
        self._looked_at = time.monotonic()
        try:
            self._key = PrivateKey.load(self.file, self._ask_nobody)
        except Problem as problem:
            log.error("online_key.unreadable", error=str(problem))
        if self.names(root):
            log.info("online_key.renewed", keyid=self.keyid(), root=root.version)
        elif self._told is not root:
            self._told = root
            named = [key.keyid[:12] for key in root.online.keys]
            log.error("online_key.unnamed", keyid=self.keyid(), root=root.version, named=named)

    def _ask(self) -> bytes:
        assert self._passphrase is not None
        self._secret = self._passphrase(self.file)
        return self._secret

    def _ask_nobody(self) -> bytes:
        """Nobody sits before a server that runs: what was said at its start must do."""
        if self._secret is None:
            raise Problem(f"{self.file} is encrypted now", remedy="start the server again")
        return self._secret
