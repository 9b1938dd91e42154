"""What the device says of itself."""

import os
import shutil
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from towline.agent import facts


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's time zone files of the test's own, and no TZ."""
    monkeypatch.setattr(facts, "_LOCALTIME", tmp_path / "localtime")
    monkeypatch.setattr(facts, "_TIMEZONE", tmp_path / "timezone")
    monkeypatch.delenv("TZ", raising=False)
    return tmp_path


def test_the_zone_is_that_of_the_machine(etc: Path) -> None:
    assert facts.time_zone() is None
    zone = etc / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (etc / "localtime").symlink_to(zone)
    assert facts.time_zone() == "Europe/Berlin"
    (etc / "timezone").write_text("Asia/Tokyo\n")
    assert facts.time_zone() == "Asia/Tokyo"


def test_a_zone_that_is_none_is_passed_over(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    (etc / "timezone").write_text("../etc/passwd")
    assert facts.time_zone() is None


def test_one_zone_is_asked_for_without_reading_all_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def walk(_: str) -> NoReturn:
        raise AssertionError("all zones are read")

    monkeypatch.setattr(os, "walk", walk)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert facts.time_zone() == "Europe/Berlin"


@pytest.mark.parametrize("name", ["posix/Europe/Berlin", "right/Europe/Berlin", "posixrules"])
def test_a_copy_of_a_zone_that_others_may_lack_is_passed_over(
    etc: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(facts, "zone_named", lambda _: UTC)  # as where those copies lie
    monkeypatch.setenv("TZ", name)
    (etc / "timezone").write_text("Asia/Tokyo\n")
    assert facts.time_zone() == "Asia/Tokyo"


STEP = 256 * 1024 * 1024


def test_free_space_is_told_in_steps(tmp_path: Path) -> None:
    free = facts.facts(tmp_path, {})["freeBytes"]
    assert isinstance(free, int)
    assert free % STEP == 0
    assert facts.facts(tmp_path / "gone", {"freeBytes": STEP})["freeBytes"] is None


@pytest.mark.parametrize(
    ("before", "free", "told"),
    [
        (None, 4 * STEP + 1, 4 * STEP),
        (4 * STEP, 4 * STEP, 4 * STEP),
        (4 * STEP, 4 * STEP - 1, 3 * STEP),  # never more than there is
        (3 * STEP, 4 * STEP + 1, 3 * STEP),  # and back over the edge: no news
        (3 * STEP, 5 * STEP - 1, 3 * STEP),
        (3 * STEP, 5 * STEP, 5 * STEP),
        ("much", 4 * STEP, 4 * STEP),  # as a later agent may have written it
    ],
)
def test_a_disk_that_swings_about_the_edge_of_a_step_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: object, free: int, told: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert facts.facts(tmp_path, {"freeBytes": before})["freeBytes"] == told
