"""What a device believes: every attack of the trust manual's table ends with its code."""

import base64
import dataclasses
import json
from functools import partial
from typing import Any

import pytest

from tests.schemas.documents import (
    BLIND,
    DAY_S,
    EVIL_KEY,
    GOOD_CHECK,
    NOW,
    ONLINE_KEY,
    RELEASE_KEY,
    ROOT_KEYS,
    TRUST,
    bent,
    check,
    code_of,
    make_component,
    make_document,
    make_root,
    make_statement,
    payload_of,
    sealed,
    with_component,
    with_statement,
)
from towline.schemas import envelope
from towline.schemas.desired_state import DESIRED_STATE_TYPE, DesiredState
from towline.schemas.root import Role
from towline.schemas.statement import STATEMENT_TYPE
from towline.schemas.verifier import Clock, TrustState


def test_a_good_document_is_accepted_and_moves_the_trust_state() -> None:
    accepted = check(make_document())
    assert accepted.document == make_document()
    assert accepted.statements == {"app": make_statement()}
    keyids = (ONLINE_KEY.public.keyid,)
    assert accepted.trust == TrustState(NOW * 1000, NOW, {"app": 3}, keyids)


def test_an_empty_document_still_binds_its_device() -> None:
    assert check(make_document(components=())).document.components == ()
    assert code_of(lambda: check(make_document(components=(), device="pi-2"))) == "wrong-device"


def test_unknown_plain_fields_are_ignored() -> None:
    assert check(bent(somethingNew={"a": 1})).document == make_document()


def test_a_device_without_a_clock_is_fresh_by_its_nonce() -> None:
    blank = TrustState()
    assert check(make_document(), clock=BLIND, trust=blank).trust.time_floor == NOW


@pytest.mark.parametrize(
    ("row", "code", "attack"),
    [
        ("1 own code, by the online key", "threshold", with_component(signer=ONLINE_KEY)),
        ("1 own code, by any key", "threshold", with_component(signer=EVIL_KEY)),
        ("2 another hash", "mix-and-match", with_component(sha256="c" * 64)),
        ("3 another version", "mix-and-match", with_component(version="1.3.0")),
        ("3 another component", "mix-and-match", with_component(name="other")),
        ("3 another size", "mix-and-match", with_component(size=101)),
        ("4 another device type", "wrong-device-type", with_statement(device_types=("x86",))),
        ("5 another organization's release", "wrong-org", with_statement(organization="evil")),
        ("5 another organization's document", "wrong-org", make_document(organization="evil")),
        ("6 another device", "wrong-device", make_document(device="pi-2")),
        (
            "7 the predecessor's key",
            "wrong-device",
            make_document(device_key=EVIL_KEY.public.keyid),
        ),
        ("8 a replay", "nonce", make_document(nonce="B" * 22)),
        ("10 one lower", "rollback", make_document(sequence=TRUST.sequence - 1)),
        ("11 expired", "expired", make_document(issued_at=NOW - 4, expires=NOW)),
        ("11 stale", "past", make_document(issued_at=NOW - 400)),
        ("12 ten years", "lifetime", make_document(expires=NOW + 3650 * DAY_S)),
        ("12 eight days", "lifetime", make_document(expires=NOW + 7 * DAY_S + 1)),
        ("12 no life", "lifetime", make_document(expires=NOW)),
        (
            "13 next month",
            "future",
            make_document(issued_at=NOW + 30 * DAY_S, expires=NOW + 31 * DAY_S),
        ),
        ("14 fast-forward", "fast-forward", make_document(sequence=2**53 - 1)),
        ("14 a day and a bit", "fast-forward", make_document(sequence=(NOW + DAY_S) * 1000 + 1)),
        ("15 downgrade", "rollback-index", with_statement(rollback_index=2)),
        ("19 unknown critical", "unknown-critical", make_document(critical=("holdBack",))),
        ("19 another version", "version", make_document(version=2)),
        ("20 a newer root is needed", "root-version", make_document(root_version=2)),
        ("unknown format", "unsupported-format", with_statement(format="module:apt")),
        (
            "one component twice",
            "duplicate-component",
            make_document(components=(make_component(), make_component())),
        ),
        (
            "too many components",
            "too-many-components",
            make_document(components=(make_component(),) * 25),
        ),
    ],
)
def test_an_attack_is_refused_with_its_code(row: str, code: str, attack: DesiredState) -> None:
    assert code_of(lambda: check(attack)) == code, row


def test_the_limits_themselves_are_allowed() -> None:
    for allowed in (
        make_document(sequence=TRUST.sequence),
        make_document(sequence=(NOW + DAY_S) * 1000),
        make_document(expires=NOW + 7 * DAY_S),
        make_document(issued_at=TRUST.time_floor - 300),
        make_document(issued_at=NOW + 300),
        with_statement(device_types=()),
        with_statement(rollback_index=3),
    ):
        check(allowed)


def test_row_9_an_old_document_is_refused_after_a_wipe_also_without_a_clock() -> None:
    old = make_document(nonce="B" * 22)
    assert code_of(lambda: check(old, trust=TrustState(), clock=BLIND)) == "nonce"


def test_row_13_the_online_key_cannot_push_time_beyond_the_root() -> None:
    root = make_root(expires=NOW + DAY_S)
    late = make_document(issued_at=NOW + DAY_S, expires=NOW + 2 * DAY_S)
    assert code_of(lambda: check(late, root=root, clock=BLIND, trust=TrustState())) == "beyond-root"


@pytest.mark.parametrize("sequence", [True, "5", 1.0, -1, None])
def test_row_14_a_sequence_is_a_whole_number(sequence: Any) -> None:
    assert code_of(lambda: check(bent(sequence=sequence))) == "sequence-type"


def test_row_16_an_evil_key_under_the_online_keys_id_does_not_count() -> None:
    forged = make_document().sign(EVIL_KEY).document()
    forged["signatures"][0]["keyid"] = ONLINE_KEY.public.keyid
    assert code_of(lambda: check(json.dumps(forged).encode())) == "threshold"


def test_a_missing_or_wrong_keyid_is_only_a_hint() -> None:
    document = make_document().sign(ONLINE_KEY).document()
    document["signatures"][0]["keyid"] = EVIL_KEY.public.keyid
    check(json.dumps(document).encode())
    del document["signatures"][0]["keyid"]
    check(json.dumps(document).encode())


def test_row_17_one_signature_counts_once() -> None:
    root = make_root(online=Role((ONLINE_KEY.public, EVIL_KEY.public), 2))
    document = make_document().sign(ONLINE_KEY).document()
    document["signatures"] *= 2
    assert code_of(lambda: check(json.dumps(document).encode(), root=root)) == "threshold"
    payload = make_document().sign(ONLINE_KEY).payload
    both = envelope.sign(DESIRED_STATE_TYPE, payload, ONLINE_KEY, EVIL_KEY)
    check(both.to_bytes(), root=root)


def test_nobody_is_never_enough() -> None:
    sealed = make_document().sign(ONLINE_KEY)
    for threshold in (0, -1):
        for keys in ([], [EVIL_KEY.public], [ONLINE_KEY.public]):
            attack = partial(sealed.verify, DESIRED_STATE_TYPE, keys, threshold)
            assert code_of(attack) == "threshold"


def test_row_18_a_release_key_cannot_sign_a_document() -> None:
    data = make_document().sign(RELEASE_KEY).to_bytes()
    assert code_of(lambda: check(data)) == "threshold"


def test_row_18_a_document_under_another_type_is_refused() -> None:
    payload = make_document().sign(ONLINE_KEY).payload
    assert code_of(lambda: check(sealed(payload, STATEMENT_TYPE))) == "payload-type"


def test_row_18_a_relabelled_signature_does_not_fit() -> None:
    document = make_document().sign(ONLINE_KEY).document()
    document["payloadType"] = STATEMENT_TYPE
    relabelled = json.dumps(document).encode()
    assert code_of(lambda: check(relabelled)) == "payload-type"
    statement = make_statement().sign(ONLINE_KEY).document() | {"payloadType": DESIRED_STATE_TYPE}
    assert code_of(lambda: check(json.dumps(statement).encode())) == "threshold"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("predicateType", "https://slsa.dev/provenance/v1", "predicate-type"),
        ("_type", "https://in-toto.io/Statement/v0.1", "statement-type"),
        ("subject", [], "statement-subject"),
        ("subject", [{"name": "a", "digest": {"sha256": "a" * 64}}] * 2, "statement-subject"),
        ("subject", ["app"], "statement-subject"),
        ("predicate", None, "bad-field"),
    ],
)
def test_row_18_another_kind_of_statement_is_refused(field: str, value: Any, code: str) -> None:
    document = make_statement().document() | {field: value}
    statement = envelope.sign(STATEMENT_TYPE, json.dumps(document).encode(), RELEASE_KEY)
    attack = make_document(components=(make_component(statement=statement),))
    assert code_of(lambda: check(attack)) == code


def test_row_20_an_expired_root_installs_nothing_more() -> None:
    root = make_root(expires=NOW)
    assert code_of(lambda: check(make_document(), root=root)) == "root-expired"
    late = TrustState(0, NOW, {})
    assert code_of(lambda: check(make_document(), root=root, clock=BLIND, trust=late)) == (
        "root-expired"
    )


def test_row_21_other_online_keys_end_what_a_stolen_one_did_to_sequence_and_time() -> None:
    far = TrustState((NOW + DAY_S) * 1000, NOW + 300, {"app": 3}, (ONLINE_KEY.public.keyid,))
    new = make_root(2, online=Role((EVIL_KEY.public,), 1))
    signed = make_document(root_version=2).sign(EVIL_KEY).to_bytes()
    keyids = (EVIL_KEY.public.keyid,)
    assert check(signed, root=new, trust=far).trust == TrustState(
        NOW * 1000, NOW, {"app": 3}, keyids
    )
    assert code_of(lambda: check(make_document(), trust=far)) == "rollback"
    nobodys = dataclasses.replace(far, online_keyids=())
    assert code_of(lambda: check(signed, root=new, trust=nobodys)) == "rollback"
    bad = with_statement(rollback_index=2, version="1.2.0")
    old = dataclasses.replace(bad, root_version=2).sign(EVIL_KEY).to_bytes()
    assert code_of(lambda: check(old, root=new, trust=far)) == "rollback-index"


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-24",
        "2026-11-24T19:00:00+00:00",
        "2026-11-24 19:00:00Z",
        "20261124T190000Z",
        "2026-11-24T19:00:00.5Z",
        "2026-11-24T19:00:00Z\n",
        "2026-13-01T00:00:00Z",
        5,
    ],
)
def test_times_have_one_form(time: Any) -> None:
    assert code_of(lambda: check(bent(issuedAt=time))) == "time-format"
    assert code_of(lambda: check(bent(expires=time))) == "time-format"


def test_both_base64_alphabets_are_read() -> None:
    document = make_document().sign(ONLINE_KEY).document()
    raw = base64.b64decode(document["payload"])
    document["payload"] = base64.urlsafe_b64encode(raw).decode()
    check(json.dumps(document).encode())


@pytest.mark.parametrize("name", sorted(payload_of(make_document())))
def test_every_missing_field_is_a_refusal(name: str) -> None:
    payload = payload_of(make_document())
    del payload[name]
    assert code_of(lambda: check(sealed(payload)))


@pytest.mark.parametrize(
    "name",
    sorted(
        set(make_component().document()) - {"hooks", "windows", "timeZone", "deltas", "rollback"}
    ),
)
def test_every_missing_field_of_a_component_is_a_refusal(name: str) -> None:
    payload = payload_of(make_document())
    del payload["components"][0][name]
    assert code_of(lambda: check(sealed(payload)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"delay": -1},
        {"period": 0},
        {"successes": 0},
        {"timeout": True},
        {"http": {}},
        {"http": {"port": "80", "path": "/", "status": 200}},
        {"tcp": {"port": 1}},
        {"script": "a.sh"},
    ],
)
def test_a_health_check_that_could_not_be_made_refuses_the_document(change: dict[str, Any]) -> None:
    check(with_component(health=(GOOD_CHECK,)))
    bad = with_component(health=(GOOD_CHECK | change,))
    assert code_of(lambda: check(bad)) in ("bad-field", "unsupported-health")


SMUGGLED = {"healthCommand": "rm -rf /", "env": {"LD_PRELOAD": "x.so"}, "args": ["-c", "id"]}


def test_row_39_code_in_a_document_is_nothing_that_the_device_knows() -> None:
    component = payload_of(make_document())["components"][0]
    hooks = SMUGGLED | {"hooks": {"before": "rm -rf /"}, "install": {"timeout": 600, "run": "id"}}
    for more in (SMUGGLED, hooks):
        attack = bent(components=[component | more], **SMUGGLED)
        assert check(attack).document == make_document()
    for name in SMUGGLED:
        assert code_of(partial(check, bent(crit=[name], **SMUGGLED))) == "unknown-critical"


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "app\n", "app\0", "a" * 64, "\uff41pp", "1\u0660", ".", "", "App"]
)
def test_row_29_no_component_is_named_like_a_path(name: str) -> None:
    assert code_of(lambda: check(with_component(name=name))) == "bad-field"


@pytest.mark.parametrize("text", ["1.0\r\nX: y", "1.0\n", "1.0\0", "1.0\u2028"])
def test_row_30_what_goes_into_a_line_is_one(text: str) -> None:
    assert code_of(lambda: check(with_component(version=text))) == "bad-field"
    assert code_of(lambda: check(with_component(commit=text))) == "bad-field"
    assert code_of(lambda: check(with_statement(version=text))) == "bad-field"
    assert code_of(lambda: check(with_statement(file_name=text))) == "bad-field"


def test_all_components_pass_or_the_whole_document_is_refused() -> None:
    bad = make_component(make_statement(component="other", organization="evil"), name="other")
    attack = make_document(components=(make_component(), bad))
    assert code_of(lambda: check(attack)) == "wrong-org"


def test_a_time_floor_never_falls() -> None:
    later = dataclasses.replace(TRUST, time_floor=NOW + 200)
    found = check(make_document(), trust=later, clock=Clock(NOW, is_synchronised=True))
    assert found.trust.time_floor == NOW + 200


def test_root_keys_alone_sign_no_document() -> None:
    for key in ROOT_KEYS:
        data = make_document().sign(key).to_bytes()
        assert code_of(partial(check, data)) == "threshold"
