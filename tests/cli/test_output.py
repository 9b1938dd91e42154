"""Rows in every form, and what a run has to say."""

import json
import time
from typing import Any

import pytest
import yaml
from rich.console import Console

from towline.cli.look_kinds import DEPLOYMENT, DEVICE
from towline.cli.output import Format, plain_status, show_list
from towline.cli.watch import lines_of, tree_of
from towline.schemas import times

RUN: dict[str, Any] = {
    "name": "hello",
    "id": "1f",
    "target_version": "2.0.0",
    "status": "paused",
    "health": "paused",
    "progress": "1/8",
    "reason": "ThresholdNotMet",
    "message": "1 of 2 verdicts failed",
    "strategy": "canary",
    "commit": "c0ffee",
    "holds": [
        {"reason": "ThresholdNotMet", "clearedBy": "retry, or resume --accept", "until": None}
    ],
    "batches": [
        {"name": "canary", "state": "passed", "counts": {"completed": 1}, "waitsFor": ""},
        {"name": "rest", "state": "failed", "counts": {"rolled_back": 1}, "waitsFor": "a person"},
        {"name": "others", "state": "waiting", "counts": {}, "waitsFor": "batch rest"},
    ],
    "devices": [
        {"device_id": "till-1", "status": "completed", "reason": "", "error_message": None},
        {
            "device_id": "till-4",
            "status": "rolled_back",
            "reason": "HealthCheckFailed",
            "error_message": "health.sh exited with 1",
        },
    ],
}


def test_a_pipe_gets_one_line_of_tab_separated_columns_and_no_escape_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_list(DEPLOYMENT, [RUN], Format.TABLE)
    line = "hello\t2.0.0\tpaused\tpaused\t1/8\tThresholdNotMet\t1 of 2 verdicts failed\n"
    assert capsys.readouterr().out == line


def test_wide_has_more_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(DEPLOYMENT, [RUN], Format.WIDE)
    assert capsys.readouterr().out.endswith("\tcanary\tc0ffee\t1f\n")


def test_names_are_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(DEVICE, [{"id": "till-1"}, {"id": "till-2"}], Format.NAME)
    assert capsys.readouterr().out == "till-1\ntill-2\n"


def test_json_and_yaml_are_versioned_lists_of_the_whole_items(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = {"apiVersion": "towline/v1", "kind": "DeploymentList", "items": [RUN]}
    show_list(DEPLOYMENT, [RUN], Format.JSON)
    assert json.loads(capsys.readouterr().out) == wanted
    show_list(DEPLOYMENT, [RUN], Format.YAML)
    assert yaml.safe_load(capsys.readouterr().out) == wanted


def test_what_is_not_there_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    device = {"id": "till-1", "online": False, "runs": "", "lastSeen": None}
    show_list(DEVICE, [device], Format.TABLE)
    assert capsys.readouterr().out == "till-1\tno\t-\t-\t-\t-\t-\n"


def test_a_terminal_cuts_nothing_and_says_how_long_ago(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    run = RUN | {"id": "43025fb4-2b64-5522-bcc2-0ea2faf26a81"}
    show_list(DEPLOYMENT, [run], Format.WIDE)
    assert run["id"] in capsys.readouterr().out
    seen = times.to_rfc3339(time.time() - 3 * 3600)
    show_list(DEVICE, [{"id": "till-1", "lastSeen": seen}], Format.TABLE)
    shown = capsys.readouterr().out
    assert ("3 h ago" in shown, seen in shown) == (True, False)


def test_a_status_word_has_a_glyph() -> None:
    assert plain_status("completed") == "✓ completed"


def test_a_watched_run_is_its_state_its_batches_and_only_the_devices_that_failed() -> None:
    assert lines_of(RUN) == [
        "hello 2.0.0: ‖ paused ThresholdNotMet 1 of 2 verdicts failed",
        "hello 2.0.0: ThresholdNotMet is cleared by retry, or resume --accept",
        "hello 2.0.0: batch canary ✓ passed",
        "hello 2.0.0: batch rest ✗ failed",
        "hello 2.0.0: batch others ○ waiting",
        "hello 2.0.0: rolled_back till-4: HealthCheckFailed: health.sh exited with 1",
    ]


def test_the_live_tree_shows_what_devices_say_as_they_say_it() -> None:
    words = "[/red] exit [bold]1[/bold]"
    (done, failed) = RUN["devices"]
    devices = [done | {"batch": 1}, failed | {"batch": 2, "error_message": words}]
    batches = [batch | {"number": n} for n, batch in enumerate(RUN["batches"], 1)]
    console = Console(width=120, no_color=True)
    with console.capture() as shown:
        console.print(tree_of(RUN | {"message": words, "devices": devices, "batches": batches}))
    assert shown.get().splitlines() == [
        "hello 2.0.0 ‖ paused",
        f"├── ThresholdNotMet {words}",
        "├── ThresholdNotMet is cleared by retry, or resume --accept",
        "├── canary ✓ passed",
        "│   └── 1 completed",
        "├── rest ✗ failed",
        "│   ├── 1 rolled_back",
        f"│   └── ↩ rolled_back till-4: HealthCheckFailed: {words}",
        "└── others ○ waiting",
        "    └── waits for batch rest",
    ]


def test_a_terminal_gets_a_table_with_glyphs_and_no_markup_of_devices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    show_list(DEPLOYMENT, [RUN | {"message": "[/red] dark"}], Format.TABLE)
    title, row = capsys.readouterr().out.splitlines()
    assert title.split() == ["NAME", "VERSION", "STATUS", "HEALTH", "DONE", "REASON", "MESSAGE"]
    assert "‖ paused" in row
    assert "[/red] dark" in row
