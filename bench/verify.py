"""What it costs a device to verify its document, beside the signatures in it alone.

Times are of the processor, the least of many turns: other work on the machine only adds to them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.figures import Measured
from tests.schemas.documents import (
    CLOCK,
    EVIL_KEY,
    GOOD_CHECK,
    IDENTITY,
    NONCE,
    ONLINE_KEY,
    RELEASE_KEY,
    TRUST,
    make_component,
    make_document,
    make_root,
    make_statement,
)
from towline.schemas import envelope
from towline.schemas.envelope import Envelope
from towline.schemas.root import Role, Root
from towline.schemas.verifier import verify

COMPONENTS = (1, 8, 24)
TURNS = 30
OTHER_KEY = EVIL_KEY
"""A second release key."""


@dataclass(frozen=True, slots=True)
class Case:
    """A document, and the root that it is verified under."""

    what: str
    sealed: Envelope
    data: bytes
    """The same as it comes over the wire."""
    statements: Sequence[Envelope]
    root: Root

    def verify(self) -> None:
        """As a device does, from the bytes on."""
        verify(
            self.data,
            root=self.root,
            identity=IDENTITY,
            trust=TRUST,
            nonce=NONCE,
            clock=CLOCK,
        )

    def bare(self) -> Callable[[], None]:
        """Each signature in it, by the key that made it, and nothing else."""
        keys = {
            key.public.keyid: Ed25519PublicKey.from_public_bytes(key.public.raw)
            for key in (ONLINE_KEY, RELEASE_KEY, OTHER_KEY)
        }
        todo = [
            (
                keys[keyid],
                signature,
                envelope.pre_authentication_encoding(each.payload_type, each.payload),
            )
            for each in (self.sealed, *self.statements)
            for keyid, signature in zip(each.keyids, each.signatures, strict=True)
        ]

        def verify_all() -> None:
            for key, signature, message in todo:
                key.verify(signature, message)

        return verify_all


def cases() -> list[Case]:
    """Documents of few and of many components, and one whose releases take two keys of three."""
    made = [_case(f"{count} components, 1 release key", count, make_root()) for count in COMPONENTS]
    keys = (ONLINE_KEY.public, RELEASE_KEY.public, OTHER_KEY.public)
    shared = make_root(release=Role(keys, 2))
    return [*made, _case("8 components, 2 of 3 release keys", 8, shared)]


def _case(what: str, count: int, root: Root) -> Case:
    signers = (OTHER_KEY, RELEASE_KEY)[-root.release.threshold :]
    statements = [
        make_statement(component=f"app-{number}").sign(*signers) for number in range(count)
    ]
    components = tuple(
        make_component(name=f"app-{number}", statement=each, health=(GOOD_CHECK,))
        for number, each in enumerate(statements)
    )
    sealed = make_document(components=components).sign(ONLINE_KEY)
    return Case(what, sealed, sealed.to_bytes(), statements, root)


def measure(turns: int = TURNS) -> Measured:
    """The row: the worst of the cases."""
    ratios, details = [], []
    for case in cases():
        whole_us, bare_us = _least_us(case.verify, turns), _least_us(case.bare(), turns)
        ratios.append(whole_us / bare_us)
        details.append(
            f"{case.what}, {len(case.data):,} bytes: {whole_us:.0f} us, its signatures alone"
            f" {bare_us:.0f} us"
        )
    return Measured({"verify": max(ratios)}, details)


def _least_us(act: Callable[[], None], turns: int) -> float:
    least = float("inf")
    for _ in range(turns):
        began = time.process_time_ns()
        act()
        least = min(least, time.process_time_ns() - began)
    return least / 1000
