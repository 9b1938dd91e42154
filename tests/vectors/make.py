"""Writes the vectors beside this file: `python -m tests.vectors.make`. The same bytes each time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.schemas.documents import (
    CLOCK,
    DAY_S,
    DEVICE_KEY,
    EVIL_KEY,
    IDENTITY,
    NONCE,
    NOW,
    ONLINE_KEY,
    RELEASE_KEY,
    ROOT_KEYS,
    TRUST,
    bent,
    make_component,
    make_document,
    make_root,
    make_statement,
    payload_of,
    sealed,
    with_component,
    with_statement,
)
from towline.schemas import envelope, times
from towline.schemas.desired_state import DesiredState
from towline.schemas.envelope import pre_authentication_encoding
from towline.schemas.keys import P256, PublicKey, Signer
from towline.schemas.root import ROOT_TYPE, Role

FOLDER = Path(__file__).parent


class Token:
    """A P-256 key whose signatures are always the same (RFC 6979)."""

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self._key = ec.derive_private_key(secret, ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        self.public = PublicKey(point, P256)

    def sign(self, message: bytes) -> bytes:
        """DER."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


TOKEN = Token(7)
NAMED: dict[str, tuple[Signer, str]] = {
    **{f"root-{n}": (key, f"{n:02x}" * 32) for n, key in enumerate(ROOT_KEYS, 1)},
    "release": (RELEASE_KEY, "04" * 32),
    "online": (ONLINE_KEY, "05" * 32),
    "device": (DEVICE_KEY, "06" * 32),
    "evil": (EVIL_KEY, "07" * 32),
    "token": (TOKEN, f"{TOKEN.secret:064x}"),
}


def keys() -> list[dict[str, Any]]:
    """Each key with its secret, its id and a signature."""
    message = pre_authentication_encoding("application/x", b"payload")
    return [
        {
            "name": name,
            "secret": secret,
            "keyid": signer.public.keyid,
            "key": signer.public.document(),
            "payloadType": "application/x",
            "payload": "payload",
            "signed": message.decode(),
            "signature": signer.sign(message).hex(),
        }
        for name, (signer, secret) in NAMED.items()
    ]


def roots() -> dict[str, Any]:
    """A root that a device has, others that it is given, and what becomes of each."""
    first = make_root()
    online, alone = Role((EVIL_KEY.public,), 1), Role((EVIL_KEY.public,), 1)
    mixed = Role((*first.root.keys[:2], TOKEN.public), 3)
    two = ROOT_KEYS[:2]
    old = first.sign(*two)
    cases: list[tuple[str, str, bytes]] = [
        ("the next root", "ok", make_root(2).sign(*two)),
        ("another online key", "ok", make_root(2, online=online).sign(*two)),
        ("a token among the root keys", "ok", make_root(2, root=mixed).sign(*two, TOKEN)),
        ("the token has not signed", "threshold", make_root(2, root=mixed).sign(*ROOT_KEYS)),
        ("one of two signatures", "threshold", make_root(2).sign(ROOT_KEYS[0])),
        ("one key signs twice", "threshold", make_root(2).sign(ROOT_KEYS[0], ROOT_KEYS[0])),
        ("signed by the online key", "threshold", make_root(2).sign(ONLINE_KEY)),
        ("new keys do not sign", "threshold", make_root(2, root=alone).sign(*ROOT_KEYS)),
        ("new keys alone sign", "threshold", make_root(2, root=alone).sign(EVIL_KEY)),
        ("a version is skipped", "root-version", make_root(3).sign(*two)),
        ("the same version again", "root-version", old),
        ("another organization", "wrong-org", make_root(2, organization="evil").sign(*two)),
        ("another payload type", "payload-type", _retyped(make_root(2).payload())),
        ("one key under two ids", "keyid-mismatch", _signed(_under_two_ids)),
        ("a threshold of zero", "bad-field", _signed(_threshold_zero)),
        ("a fifth role", "root-type", _signed(_fifth_role)),
        ("an RSA key", "key", _signed(_rsa)),
    ]
    given = [{"name": n, "result": result, "next": _json(data)} for n, result, data in cases]
    return {"trusted": _json(old), "cases": given}


def _retyped(payload: bytes) -> bytes:
    return envelope.sign("application/vnd.towline.desired.v1+json", payload, *ROOT_KEYS).to_bytes()


def _signed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(make_root(2).payload())
    change(document)
    return envelope.sign(ROOT_TYPE, json.dumps(document).encode(), *ROOT_KEYS).to_bytes()


def _under_two_ids(document: dict[str, Any]) -> None:
    document["keys"]["f" * 64] = document["keys"][ROOT_KEYS[0].public.keyid]


def _threshold_zero(document: dict[str, Any]) -> None:
    document["roles"]["root"]["threshold"] = 0


def _fifth_role(document: dict[str, Any]) -> None:
    document["roles"]["mirror"] = {"keyids": [], "threshold": 1}


def _rsa(document: dict[str, Any]) -> None:
    document["keys"]["a" * 64] = {
        "keytype": "rsa",
        "scheme": "rsassa-pss-sha256",
        "keyval": {"public": ""},
    }


def documents() -> dict[str, Any]:
    """A device, and documents that it gets: each with what becomes of it."""
    return {
        "root": _json(make_root().sign(*ROOT_KEYS[:2])),
        "device": {
            "organization": IDENTITY.organization,
            "id": IDENTITY.device,
            "keyid": IDENTITY.keyid,
            "deviceType": IDENTITY.device_type,
        },
        "trust": {
            "sequence": TRUST.sequence,
            "timeFloor": times.to_rfc3339(TRUST.time_floor),
            "rollbackIndexes": TRUST.rollback_indexes,
            "onlineKeyids": list(TRUST.online_keyids),
        },
        "clock": {"now": times.to_rfc3339(CLOCK.now), "isSynchronised": CLOCK.is_synchronised},
        "nonce": NONCE,
        "cases": [
            {"name": name, "result": result, "envelope": _json(data)}
            for name, result, data in _documents()
        ],
    }


def _documents() -> list[tuple[str, str, bytes]]:
    evil = envelope.sign("application/x", b"", EVIL_KEY)
    word = make_statement()
    cases: list[tuple[str, str, DesiredState | bytes]] = [
        ("install", "ok", make_document()),
        ("no components", "ok", make_document(components=())),
        ("an unknown plain field", "ok", bent(somethingNew={"a": 1})),
        ("signed by nobody of the root", "threshold", make_document().sign(EVIL_KEY).to_bytes()),
        ("signed by the release key", "threshold", make_document().sign(RELEASE_KEY).to_bytes()),
        ("another payload type", "payload-type", sealed(payload_of(make_document()), "text/x")),
        ("a duplicate key", "duplicate-key", sealed(b'{"v":1,"v":1}')),
        ("another version", "version", bent(v=2)),
        ("an unknown critical field", "unknown-critical", bent(crit=["holdBack"])),
        ("another organization", "wrong-org", make_document(organization="evil")),
        ("another device", "wrong-device", make_document(device="pi-2")),
        ("a predecessor's key", "wrong-device", make_document(device_key="0" * 64)),
        ("another nonce", "nonce", make_document(nonce="B" * 22)),
        ("a lower sequence", "rollback", make_document(sequence=TRUST.sequence - 1)),
        ("a sequence ahead", "fast-forward", make_document(sequence=2**53)),
        ("a life of ten years", "lifetime", make_document(expires=NOW + 3650 * DAY_S)),
        ("of tomorrow", "future", make_document(issued_at=NOW + DAY_S)),
        ("a newer root is needed", "root-version", make_document(root_version=2)),
        ("the package of an evil key", "threshold", with_component(statement=word.sign(EVIL_KEY))),
        ("another envelope as statement", "payload-type", with_component(statement=evil)),
        ("another checksum", "mix-and-match", with_component(sha256="c" * 64)),
        ("another size", "mix-and-match", with_component(size=101)),
        ("a package of another organization", "wrong-org", with_statement(organization="evil")),
        ("another type of device", "wrong-device-type", with_statement(device_types=("x86",))),
        ("below the rollback index", "rollback-index", with_statement(rollback_index=2)),
        (
            "one component twice",
            "duplicate-component",
            make_document(components=(make_component(), make_component())),
        ),
    ]
    return [
        (name, result, data if isinstance(data, bytes) else data.sign(ONLINE_KEY).to_bytes())
        for name, result, data in cases
    ]


def _json(data: bytes) -> Any:
    return json.loads(data)


def texts() -> dict[str, str]:
    """Every file by its name."""
    return {
        f"{name}.json": json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        for name, found in (("keys", keys()), ("roots", roots()), ("documents", documents()))
    }


def main() -> None:
    """Write them all."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
