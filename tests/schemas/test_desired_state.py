"""Windows in a device's document."""

import dataclasses
from datetime import date
from typing import Any

import pytest

from tests.schemas.documents import (
    ONLINE_KEY,
    bent,
    check,
    code_of,
    make_component,
    make_document,
    payload_of,
)
from towline.schemas import strict_json
from towline.schemas.desired_state import etag
from towline.schemas.windows import WINDOWS_LIMIT, Allow, Deny, Window

WINDOWS = (
    Window(Allow(frozenset({0, 1}), 60, 3600), "Europe/Berlin"),
    Window(Deny(date(2026, 12, 20), date(2027, 1, 2)), None, "holidays"),
)


def with_windows(windows: Any) -> bytes:
    component = payload_of(make_document())["components"][0] | {"windows": windows}
    return bent(components=[component])


def test_windows_and_the_devices_zone_reach_the_device() -> None:
    sent = make_component(windows=WINDOWS, time_zone="Asia/Tokyo")
    (component,) = check(make_document(components=(sent,))).document.components
    assert (component.windows, component.time_zone) == (WINDOWS, "Asia/Tokyo")


def test_without_windows_the_document_is_as_ever() -> None:
    document = make_component().document()
    assert (document["windows"], document["timeZone"]) == ([], None)


def test_another_window_or_zone_is_another_document() -> None:
    plain = make_component()
    others = [
        dataclasses.replace(plain, windows=WINDOWS[:1]),
        dataclasses.replace(plain, windows=WINDOWS),
        dataclasses.replace(plain, time_zone="UTC"),
    ]
    assert len({etag([each]) for each in (plain, *others)}) == 4


@pytest.mark.parametrize(
    "windows",
    [None, {}, [{}], [{"maybe": {}}], [{"deny": {"from": "2026-01-01", "to": "2026-01-01"}}] * 65],
)
def test_windows_that_cannot_be_obeyed_refuse_the_document(windows: Any) -> None:
    assert WINDOWS_LIMIT == 64
    assert code_of(lambda: check(with_windows(windows))) == "bad-field"


def test_what_is_signed_is_canonical_however_it_is_put_together() -> None:
    component = make_component(windows=WINDOWS, time_zone="Asia/Tokyo")
    odd = 'a "quoted" \\ \n \x01 \u2028 ü'
    document = make_document(components=(component, component))
    for each in (
        document,
        dataclasses.replace(document, device=odd, nonce=odd, organization=odd),
        dataclasses.replace(document, critical=("components", odd), device_key=odd),
    ):
        signed = each.sign(ONLINE_KEY)
        for sealed in (signed, dataclasses.replace(signed, payload_type=odd, keyids=(odd,))):
            whole, payload = sealed.to_bytes(), sealed.payload
            assert strict_json.parse(whole) == sealed.document()
            assert payload == strict_json.canonical(strict_json.parse(payload))
            assert whole == strict_json.canonical(strict_json.parse(whole))
        read = strict_json.parse(signed.payload)
        assert [read["crit"], read["nonce"]] == [list(each.critical), each.nonce]
        assert [read["device"], read["deviceKey"]] == [each.device, each.device_key]
