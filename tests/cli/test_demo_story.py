"""The demo does not call true what is not."""

from typing import Any

import pytest

from towline.cli.demo_story import untrue_claims

GOOD: dict[str, Any] = {"status": "completed", "devices": {"completed": 8}}
BAD: dict[str, Any] = {
    "status": "paused",
    "reason": "ThresholdNotMet",
    "devices": {"completed": 3, "rolled_back": 2},
}
RETURN: dict[str, Any] = {
    "status": "completed",
    "moved": 3,
    "downloads": 0,
    "devices_on_good_version": 8,
}


def story(part: str = "", **changed: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"good": GOOD, "bad": BAD, "return": RETURN}
    if part:
        document[part] = document[part] | changed
    return document | {"explain": "HealthCheckFailed"}


def test_a_story_as_it_should_be_has_nothing_untrue() -> None:
    assert untrue_claims(story(), 8) == []


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("good", {"status": "paused"}),
        ("good", {"devices": {"completed": 7}}),
        ("bad", {"status": "in_progress"}),
        ("bad", {"reason": "PausedByUser"}),
        ("bad", {"devices": {"rolled_back": 1}}),
        ("bad", {"devices": {"completed": 3}}),
        ("bad", {"devices": {"completed": 3, "failed": 1, "rolled_back": 1}}),
        ("return", {"status": "in_progress"}),
        ("return", {"moved": 2}),
        ("return", {"downloads": 1}),
        ("return", {"devices_on_good_version": 7}),
    ],
)
def test_each_figure_that_is_off_is_told(part: str, changed: dict[str, Any]) -> None:
    assert untrue_claims(story(part, **changed), 8)


def test_a_story_without_untouched_devices_is_not_the_promised_one() -> None:
    document = story("bad", devices={"completed": 6, "rolled_back": 2})
    document["return"] = RETURN | {"moved": 6}
    assert untrue_claims(document, 8) == ["some devices were never touched"]
