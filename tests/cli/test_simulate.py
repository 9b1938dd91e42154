"""`towline simulate` as a person uses it: sources, outputs, slips."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import git
from towline.cli import main


@pytest.fixture
def published(fleet: Path, hello: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet repository with the Deployment hello 1.0.0, and the current folder."""
    monkeypatch.chdir(fleet)
    assert main.run(["publish", str(hello), "--version", "1.0.0"]) == 0
    assert git(fleet, "status", "--porcelain") == ""
    return fleet


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main.run(["simulate", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.usefixtures("published")
def test_made_up_devices_need_no_server_and_the_same_seed_says_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--devices", "6", "--runs", "1", "--at", "2026-12-01T06:00:00Z", "-o", "json")
    code, first, _ = run(capsys, *words)
    assert code == 0
    document = json.loads(first)
    assert (document["kind"], document["source"], document["devices"]) == (
        "Simulation",
        "synthetic",
        6,
    )
    (hello,) = document["deployments"]
    assert (hello["name"], hello["updated"]["p50"]) == ("hello", 6)
    assert run(capsys, *words)[1] == first


@pytest.mark.usefixtures("published")
def test_the_text_says_who_is_harmed_and_what_was_supposed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said, _ = run(capsys, "hello", "--devices", "6", "--runs", "1", "--bad-rate", "100%")
    assert code == 0
    assert "paused (ThresholdNotMet) in 1 of 1 run" in said
    assert "the release fails on 100%" in said


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "--devices", "6"), "there is no Deployment nobody"),
        (("--store", "nowhere.db"), "there is no store"),
    ],
)
def test_slips_are_said_with_a_remedy(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, _, said = run(capsys, *words)
    assert code == 1
    assert message in said
    assert "→" in said


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("option", "value", "message", "remedy"),
    [
        ("--bad-rate", "2", "is no share", "write 2%, 0.5% or hw=v1:30%"),
        ("--bad-rate", "hw=v1:2", "is no share", "write 2%, 0.5% or hw=v1:30%"),
        ("--offline", "hw=v1:30%", "is no share", "write 2% or 0.5%"),
        ("--offline-for", "12", "is no duration", "write 90s"),
        ("--at", "noon", "is no time", "write 2026"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_slip_of_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str, message: str, remedy: str
) -> None:
    code, _, said = run(capsys, "hello", "--devices", "6", option, value)
    assert code == 64
    assert message in said
    assert f"→ {remedy}" in said
