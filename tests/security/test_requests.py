"""What a device says to be let in: each claim in its bounds, signed by the key that it names."""

import json
from typing import Any

import pytest

from tests.schemas.documents import DEVICE_KEY, EVIL_KEY, NOW, code_of
from towline.schemas import envelope, strict_json
from towline.schemas.enrolment import (
    ENROLMENT_TYPE,
    SESSION_TYPE,
    EnrolmentRequest,
    JoinString,
    SessionRequest,
)
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.schemas.renewal import RENEWAL_TYPE, RenewalRequest

ENROLMENT = EnrolmentRequest("acme", "pi-1", DEVICE_KEY.public, "pi4", "0.1")
NEW_KEY = PrivateKey.from_raw(b"n" * 32)
RENEWAL = RenewalRequest(
    DEVICE_KEY.public.keyid, EnrolmentRequest("acme", "pi-1", NEW_KEY.public, "pi4", "0.1")
)
SESSION = SessionRequest("acme", "pi-1", DEVICE_KEY.public.keyid, "n" * 22, "boot", NOW, 5)


def enrolled(signer: PrivateKey = DEVICE_KEY, **changes: Any) -> EnrolmentRequest:
    document = strict_json.parse_object(ENROLMENT.sign(DEVICE_KEY).payload) | changes
    sealed = envelope.sign(ENROLMENT_TYPE, json.dumps(document).encode(), signer)
    return EnrolmentRequest.verify(sealed)


def opened(**changes: Any) -> SessionRequest:
    document = strict_json.parse_object(SESSION.sign(DEVICE_KEY).payload) | changes
    return SessionRequest.read(envelope.sign(SESSION_TYPE, json.dumps(document).encode()))


def test_requests_come_back_as_they_were_signed() -> None:
    assert EnrolmentRequest.verify(ENROLMENT.sign(DEVICE_KEY)) == ENROLMENT
    assert SessionRequest.read(SESSION.sign(DEVICE_KEY)) == SESSION
    assert enrolled(deviceType="t" * 63, agent="a" * 63).agent == "a" * 63
    assert opened(nonce="n" * 64, bootId="b" * 64).boot_id == "b" * 64


def test_only_who_has_a_key_may_ask_to_be_known_by_it() -> None:
    assert code_of(lambda: enrolled(EVIL_KEY)) == "threshold"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "version"),
        ({"v": None}, "version"),
        ({"purpose": "session"}, "version"),
        ({"organization": "a/b"}, "bad-field"),
        ({"device": "../x"}, "bad-field"),
        ({"publicKey": f"ed25519:{'0' * 63}"}, "key"),
        ({"publicKey": "ed25519:" * 20 + DEVICE_KEY.public.raw.hex()}, "bad-field"),
        ({"deviceType": "t" * 64}, "bad-field"),
        ({"agent": "a" * 64}, "bad-field"),
    ],
)
def test_an_enrolment_that_is_none_is_refused(change: dict[str, Any], code: str) -> None:
    assert code_of(lambda: enrolled(**change)) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "version"),
        ({"purpose": "enrol"}, "version"),
        ({"organization": ""}, "bad-field"),
        ({"device": "pi\n"}, "bad-field"),
        ({"deviceKey": "a" * 63}, "bad-field"),
        ({"nonce": "n" * 65}, "bad-field"),
        ({"bootId": "b" * 65}, "bad-field"),
        ({"issuedAt": NOW}, "time-format"),
        ({"lastSequence": -1}, "bad-field"),
        ({"lastSequence": 2**63}, "bad-field"),
    ],
)
def test_a_session_request_that_is_none_is_refused(change: dict[str, Any], code: str) -> None:
    assert code_of(lambda: opened(**change)) == code


def renewed(**changes: Any) -> RenewalRequest:
    document = strict_json.parse_object(RENEWAL.sign(DEVICE_KEY, NEW_KEY).payload) | changes
    return RenewalRequest.read(envelope.sign(RENEWAL_TYPE, json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "version"),
        ({"purpose": "enrol"}, "version"),
        ({"organization": "other"}, "bad-field"),
        ({"device": "pi-2"}, "bad-field"),
        ({"deviceKey": "a" * 63}, "bad-field"),
        ({"enrolment": None}, "bad-field"),
        ({"enrolment": [1]}, "bad-field"),
        ({"enrolment": RENEWAL.enrolment.sign(EVIL_KEY).document()}, "threshold"),
    ],
)
def test_a_renewal_that_is_none_is_refused(change: dict[str, Any], code: str) -> None:
    assert code_of(lambda: renewed(**change)) == code


def test_a_renewal_is_vouched_for_by_the_key_that_it_names() -> None:
    sealed = RENEWAL.sign(DEVICE_KEY, NEW_KEY)
    assert RenewalRequest.read(sealed) == RENEWAL
    RENEWAL.verify(sealed, DEVICE_KEY.public)
    assert code_of(lambda: RENEWAL.verify(sealed, EVIL_KEY.public)) == "unknown-device"
    by_another = RENEWAL.sign(EVIL_KEY, NEW_KEY)
    assert code_of(lambda: RENEWAL.verify(by_another, DEVICE_KEY.public)) == "threshold"


GOOD = "towline+https://towline.example:8443/join?org=acme&token=t&root=sha256:aa"


def test_a_join_string_comes_back_as_it_was_printed() -> None:
    found = JoinString.parse(f"  {GOOD}\n")
    assert found == JoinString("https://towline.example:8443", "acme", "t", "sha256:aa")
    assert JoinString.parse(str(found)) == found


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("towline+https", "https"),
        ("/join", "/joint"),
        ("org=acme", "org=A/b"),
        ("org=acme", "org="),
        ("token=t", "token="),
        ("root=sha256:aa", "root="),
        ("towline.example:8443", ""),
        ("towline.example:8443", ":8443"),
        ("towline.example:8443", "towline.example:0"),
        ("towline.example:8443", "towline.example:x"),
        ("towline.example:8443", "me@towline.example"),
        ("towline.example:8443", "töwline.example"),
        ("towline.example:8443", "tow line.example"),
        ("towline.example:8443", "towline\x7f.example"),
    ],
)
def test_a_join_string_that_is_none_is_a_problem(part: str, instead: str) -> None:
    with pytest.raises(Problem) as problem:
        JoinString.parse(GOOD.replace(part, instead))
    assert "copy the whole line" in problem.value.remedy
