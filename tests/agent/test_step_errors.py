"""An error that no step knows ends the attempt with a verdict, never in a loop of crashes."""

import json
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import INSTALL, AgentProcess, publish
from tests.agent.test_crashes import SICK, start
from tests.agent.test_failures import give
from towline.agent import apply
from towline.agent.attempt import RUNS_LIMIT, UNTOUCHED, AttemptRecord, Step
from towline.agent.device import Device


def break_step(monkeypatch: pytest.MonkeyPatch, step: Step, error: Exception) -> None:
    def failing(_: Device, __: AttemptRecord) -> NoReturn:
        raise error

    monkeypatch.setitem(apply._STEPS, step, failing)


def verdict_of(step: Step) -> tuple[str, str]:
    if step in UNTOUCHED:
        return "failed", "InstallFailed"
    is_on_way_back = step in (Step.ROLL_BACK, Step.CHECK_PREVIOUS)
    return ("failed", "RollbackFailed") if is_on_way_back else ("rolled_back", "InstallFailed")


@pytest.mark.parametrize("step", Step)
def test_an_error_of_the_agent_in_a_step_is_told_and_the_old_release_runs(
    server: FleetServer,
    agent: AgentProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    break_step(monkeypatch, step, TypeError("a bug"))
    is_on_way_back = step in (Step.ROLL_BACK, Step.CHECK_PREVIOUS)
    server.want("pi-1", publish(server, tmp_path, "1.1.0", SICK if is_on_way_back else {}))
    assert start(agent)
    told = server.last("pi-1")
    assert (told.state, told.reason) == verdict_of(step)
    assert f"the agent failed at {step}: TypeError: a bug" in told.message
    assert ("health.sh exited with 1" in told.message) is is_on_way_back
    assert agent.current() == "1.0.0"
    assert json.loads((agent.root / "journal").read_text())["attempt"] is None


@pytest.mark.parametrize("step", [Step.STAGE, Step.SAVE, Step.SWAP, Step.COMMIT])
def test_a_disk_that_never_takes_a_step_ends_it_at_its_limit(
    server: FleetServer,
    agent: AgentProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    break_step(monkeypatch, step, IsADirectoryError(21, "Is a directory", "current"))
    server.want("pi-1", publish(server, tmp_path, "1.1.0"))
    for _ in range(RUNS_LIMIT[step]):
        assert not server.states("pi-1") or server.last("pi-1").reason == ""
        with suppress(OSError):
            start(agent)
    told = server.last("pi-1")
    assert (told.state, told.reason) == verdict_of(step)
    assert "Is a directory: 'current'" in told.message
    assert agent.current() == "1.0.0"


def test_saved_paths_that_no_device_takes_fail_the_install_before_it_begins(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    files = {"backup.paths": "a\0b\n", "install.sh": "exit 1"}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", files))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "InstallFailed")
    assert "NUL" in told.message
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")


def test_copies_that_cannot_be_read_are_told_and_the_old_release_is_pointed_to(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    spoils = INSTALL + 'echo "{" > "$TOWLINE_ROOT/components/hello/saved/index.json"; exit 1\n'
    files = {"backup.paths": "installed\n", "install.sh": spoils}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", files))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "RollbackFailed")
    assert "cannot put back what was saved" in told.message
    assert agent.current() == "1.0.0"


def test_a_current_that_is_no_link_any_more_does_not_hold_the_agent_for_ever(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    spoils = INSTALL + 'cd "$TOWLINE_ROOT/components/hello"; rm current; mkdir current\n'
    server.want("pi-1", publish(server, tmp_path, "1.1.0", {"install.sh": spoils}))
    for _ in range(RUNS_LIMIT[Step.SWAP] + RUNS_LIMIT[Step.ROLL_BACK]):
        with suppress(OSError):
            start(agent)
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "RollbackFailed")
    assert "the agent failed at swap" in told.message
