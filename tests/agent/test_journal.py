"""The journal keeps what was written, and reports in order until they are acknowledged."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.agent import durable
from towline.agent.attempt import AttemptRecord, Key, Outcome, Process, Step
from towline.agent.journal import OUTBOX_LIMIT, Journal, JournalState, read, report
from towline.schemas import reports
from towline.schemas.states import TargetState

KEY = Key("app", "d", "0" * 64, 1, "c")


def told(state: TargetState) -> reports.Report:
    attempt = reports.Attempt("app", "d", "0" * 64, 1, "c", state)
    return report(1, {}, facts={}, attempt=attempt)


PLAIN = report(1, {}, facts={})
REJECTED = report(1, {}, facts={}, rejected="nonce")


def test_everything_comes_back_from_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    record = AttemptRecord(
        KEY,
        "1.0",
        "a" * 64,
        "1.0-aaa",
        2,
        Step.INSTALL,
        from_release="0.9-bbb",
        runs=1,
        process=Process(7, 99, "boot"),
        health=({"name": "x", "tcp": {"port": 1}},),
    )
    outcome = Outcome(KEY, "0.9", "b" * 64, TargetState.ROLLED_BACK, "InstallFailed", "why")
    state = dataclasses.replace(
        journal.state.with_report(told(TargetState.INSTALLING)),
        attempt=record,
        outcomes={"app": outcome},
        downloads=3,
        versions_owed_after=9,
        refused="nonce",
        facts={"agent": "1"},
    )
    journal.write(state)
    assert Journal(tmp_path / "journal").state == state
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


def test_what_a_newer_agent_wrote_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    record = AttemptRecord(
        KEY, "1.0", "a" * 64, "1.0-aaa", 2, Step.INSTALL, process=Process(7, 99, "boot")
    )
    outcome = Outcome(KEY, "0.9", "b" * 64, TargetState.COMPLETED)
    journal = Journal(path)
    state = dataclasses.replace(journal.state, attempt=record, outcomes={"app": outcome})
    journal.write(state)
    document = json.loads(path.read_bytes())
    attempt, ended = document["attempt"], document["outcomes"]["app"]
    for each in (document, attempt, attempt["key"], attempt["process"], ended, ended["key"]):
        each["later"] = 1
    path.write_text(json.dumps(document))
    assert read(path) == state


def test_a_broken_journal_is_put_aside_and_another_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = Journal(path).state.journal
    path.write_bytes(path.read_bytes()[:-9])
    assert read(path) is None
    assert Journal(path).state.journal != before
    assert (tmp_path / "journal.broken").exists()


def test_a_write_that_fails_leaves_the_old_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    before = journal.state

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", full)
        journal.write(before.with_report(PLAIN))
    assert journal.state == before
    assert read(tmp_path / "journal") == before


def test_a_file_is_synced_before_it_takes_the_others_place_and_its_folder_after(
    tmp_path: Path,
) -> None:
    seen = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        real_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        seen.append("replace")
        return real_replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(Path, "replace", replace)
        durable.write_file(tmp_path / "file", b"1")
    assert seen == [f"sync {tmp_path}/.file.new", "replace", f"sync {tmp_path}"]


def test_of_reports_without_an_attempt_only_the_newest_of_a_kind_waits() -> None:
    state = JournalState("j")
    for each in (PLAIN, told(TargetState.DOWNLOADING), REJECTED, PLAIN, REJECTED):
        state = state.with_report(each)
    assert [(r["reportSeq"], r["state"], r["rejected"]) for r in state.outbox] == [
        (2, "downloading", None),
        (4, None, None),
        (5, None, "nonce"),
    ]


def test_a_full_outbox_gives_up_steps_before_outcomes() -> None:
    state = JournalState("j").with_report(told(TargetState.COMPLETED))
    for _ in range(OUTBOX_LIMIT + 5):
        state = state.with_report(told(TargetState.DOWNLOADING))
    assert len(state.outbox) == OUTBOX_LIMIT
    assert state.outbox[0]["state"] == "completed"


@given(st.lists(st.sampled_from([*TargetState]).map(told) | st.sampled_from([PLAIN, REJECTED])))
def test_numbers_grow_and_an_acknowledgement_removes_what_came_before(
    sent: list[reports.Report],
) -> None:
    state = JournalState("j")
    for each in sent:
        state = state.with_report(each)
    numbers = [entry["reportSeq"] for entry in state.outbox]
    assert numbers == sorted(set(numbers))
    assert state.report_seq == len(sent)
    for number in numbers:
        left = state.acknowledged(number).outbox
        assert [entry["reportSeq"] for entry in left] == [n for n in numbers if n > number]
