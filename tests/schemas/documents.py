"""Valid keys, roots, statements and documents for the tests of trust; each can be bent."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from towline.schemas import envelope, strict_json
from towline.schemas.desired_state import (
    DESIRED_STATE_TYPE,
    ComponentAction,
    ComponentWanted,
    DesiredState,
)
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused
from towline.schemas.root import Role, Root
from towline.schemas.statement import Statement
from towline.schemas.verifier import Accepted, Clock, DeviceIdentity, TrustState, verify

NOW = 1_795_546_800
DAY_S = 86_400
ROOT_KEYS = [PrivateKey.from_raw(bytes([n]) * 32) for n in (1, 2, 3)]
RELEASE_KEY, ONLINE_KEY, DEVICE_KEY, EVIL_KEY = (
    PrivateKey.from_raw(bytes([n]) * 32) for n in (4, 5, 6, 7)
)
NONCE = "A" * 22
IDENTITY = DeviceIdentity("acme", "pi-1", DEVICE_KEY.public.keyid, "pi4")
TRUST = TrustState(NOW * 1000 - 5000, NOW - 5, {"app": 3}, (ONLINE_KEY.public.keyid,))
CLOCK = Clock(NOW, is_synchronised=True)
BLIND = Clock(0, is_synchronised=False)


def make_root(version: int = 1, **changes: Any) -> Root:
    root = Root(
        version=version,
        organization="acme",
        expires=NOW + 365 * DAY_S,
        root=Role(tuple(key.public for key in ROOT_KEYS), 2),
        release=Role((RELEASE_KEY.public,), 1),
        online=Role((ONLINE_KEY.public,), 1),
    )
    return dataclasses.replace(root, **changes)


def make_statement(**changes: Any) -> Statement:
    statement = Statement(
        organization="acme",
        component="app",
        version="1.2.0",
        file_name="app-1.2.0.tar.gz",
        sha256="a" * 64,
        size=100,
        unpacked_size=1000,
        files=3,
        content_sha256="b" * 64,
        built_at=NOW - DAY_S,
        device_types=("pi4", "pi5"),
        rollback_index=3,
    )
    return dataclasses.replace(statement, **changes)


def make_component(
    said: Statement | None = None, signer: PrivateKey = RELEASE_KEY, **changes: Any
) -> ComponentWanted:
    component = ComponentWanted(
        name="app",
        action=ComponentAction.INSTALL,
        version="1.2.0",
        sha256="a" * 64,
        size=100,
        urls=("https://example.com/app-1.2.0.tar.gz",),
        deployment="d",
        revision="c" * 64,
        attempt=1,
        commit="e" * 40,
        statement=(said or make_statement()).sign(signer),
    )
    return dataclasses.replace(component, **changes)


def make_document(**changes: Any) -> DesiredState:
    document = DesiredState(
        organization="acme",
        device="pi-1",
        device_key=DEVICE_KEY.public.keyid,
        nonce=NONCE,
        sequence=NOW * 1000,
        issued_at=NOW,
        expires=NOW + 2 * DAY_S,
        root_version=1,
        poll_after_s=300,
        components=(make_component(),),
    )
    return dataclasses.replace(document, **changes)


def check(data: bytes | DesiredState, **changes: Any) -> Accepted:
    """Verify as the device would, with one thing changed."""
    if isinstance(data, DesiredState):
        data = data.sign(ONLINE_KEY).to_bytes()
    values: dict[str, Any] = {
        "root": make_root(),
        "identity": IDENTITY,
        "trust": TRUST,
        "nonce": NONCE,
        "clock": CLOCK,
    }
    return verify(data, **values | changes)


GOOD_CHECK = {
    "name": "web",
    "delay": 0,
    "period": 5,
    "successes": 1,
    "timeout": 60,
    "http": {"port": 80, "path": "/", "status": 200},
}
"""A health check as a document carries it."""


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


def with_component(**changes: Any) -> DesiredState:
    return make_document(components=(make_component(**changes),))


def with_statement(**changes: Any) -> DesiredState:
    return make_document(components=(make_component(make_statement(**changes)),))


def payload_of(document: DesiredState) -> dict[str, Any]:
    return strict_json.parse_object(document.sign(ONLINE_KEY).payload)


def sealed(payload: dict[str, Any] | bytes, kind: str = DESIRED_STATE_TYPE) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return envelope.sign(kind, data, ONLINE_KEY).to_bytes()


def bent(**changes: Any) -> bytes:
    return sealed(payload_of(make_document()) | changes)
