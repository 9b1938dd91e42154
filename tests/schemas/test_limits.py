"""What no store could keep and no device could wait for is refused at the edge."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.schemas.documents import check, make_document, with_component
from towline.schemas import fields, reports, strict_json
from towline.schemas.problems import Refused

TIMES = {"delay": 0, "period": 5, "successes": 1, "timeout": 60}


def report(**changes: Any) -> dict[str, Any]:
    base = {"journal": "j", "reportSeq": 1, "lastSequence": 0, "facts": {}, "versions": {}}
    return base | changes


@pytest.mark.parametrize("text", ['"\\ud800"', '{"a": ["\\udfff"]}', '{"\\ud800": 1}'])
def test_half_of_a_surrogate_pair_is_no_json(text: str) -> None:
    with pytest.raises(Refused, match="not-json"):
        strict_json.parse(text.encode())


def test_a_whole_pair_is_text() -> None:
    assert strict_json.parse(json.dumps("🚀").encode()) == "🚀"


def test_a_number_that_no_store_holds_is_refused() -> None:
    with pytest.raises(Refused, match="bad-field: reportSeq"):
        reports.parse(report(reportSeq=2**63))
    assert reports.parse(report(reportSeq=fields.MOST)).report_seq == fields.MOST


@pytest.mark.parametrize("nest", [lambda value: [value], lambda value: {"a": value}])
def test_facts_are_no_deeper_than_their_readers_go(nest: Callable[[Any], Any]) -> None:
    """Else the list of all devices could not be written for one of them."""
    value: Any = 1
    for _ in range(fields.DEEPEST - 2):
        value = nest(value)
    assert reports.parse(report(facts={"a": value})).facts == {"a": value}
    with pytest.raises(Refused, match="bad-field: facts"):
        reports.parse(report(facts={"a": nest(value)}))


def test_a_component_of_a_report_must_be_an_id() -> None:
    installed = {"version": "1", "sha256": "0" * 64}
    with pytest.raises(Refused, match="bad-field: versions"):
        reports.parse(report(versions={"x" * 64: installed}))


@pytest.mark.parametrize(
    "change",
    [
        {"poll_after_s": 86401},
        {"install_timeout_s": 604801},
        {"device_timeout_s": 604801},
        {"health": ({"name": "p", **TIMES, "tcp": {"port": 65536}},)},
        {"health": ({"name": "p", **TIMES, "delay": 604801, "tcp": {"port": 1}},)},
    ],
)
def test_no_document_puts_a_device_to_sleep_for_ever(change: dict[str, Any]) -> None:
    document = make_document(**change) if "poll_after_s" in change else with_component(**change)
    with pytest.raises(Refused, match="bad-field"):
        check(document)
