"""What goes wrong on a device ends with the old release running and a true report."""

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import INSTALL, AgentProcess, again, publish, until
from towline.agent.journal import read

SICK = {"health.sh": '#!/bin/sh\necho "no pulse"; exit 1\n'}
BROKEN = {"install.sh": INSTALL + 'echo "cannot go on"; exit 3\n'}


def give(server: FleetServer, agent: AgentProcess, folder: Path, version: str) -> None:
    server.want("pi-1", publish(server, folder, version))
    agent.call("once")
    server.reports.clear()


def test_a_failing_health_check_rolls_back_and_is_reported(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    server.want("pi-1", publish(server, tmp_path, "1.1.0", SICK))
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert server.states("pi-1") == ["downloading", "installing", "verifying", "rolled_back"]
    told = server.last("pi-1")
    assert told.reason == "HealthCheckFailed"
    assert "no pulse" in told.message
    assert server.reports[-1][1].versions["hello"].version == "1.0.0"


def test_without_automatic_rollback_a_failed_release_is_left_and_reported(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    sick = replace(publish(server, tmp_path, "1.1.0", SICK), rolls_back=False)
    server.want("pi-1", sick)
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.1.0", "1.1.0")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "HealthCheckFailed")
    assert "no pulse" in told.message
    before = len(server.reports)
    agent.call("once")
    assert not [report for _, report in server.reports[before:] if report.attempt]


def test_a_known_bad_package_is_not_tried_again_before_another_attempt(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    bad = publish(server, tmp_path, "1.1.0", SICK)
    server.want("pi-1", bad)
    agent.call("once")
    before = len(server.reports)
    agent.call("once")
    server.want("pi-1", publish(server, tmp_path, "1.2.0"))
    agent.call("once")
    server.want("pi-1", bad)
    agent.call("once")
    assert agent.current() == "1.2.0"
    assert "KnownBad" in agent.call("status", "--why").stdout
    assert [r.attempt.state for _, r in server.reports[before:] if r.attempt] == [
        "downloading",
        "installing",
        "verifying",
        "completed",
    ]
    server.want("pi-1", again(bad, attempt=2))
    agent.call("once")
    assert server.last("pi-1").state == "rolled_back"
    assert agent.current() == "1.2.0"


def test_a_failing_install_restores_the_saved_paths_and_tells_its_output(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    outside = tmp_path / "etc"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/kept.conf").write_text("old")
    (outside / "deep/kept.conf").chmod(0o640)
    files = {
        "backup.paths": f"# what install.sh overwrites\ninstalled\n{outside}\n{tmp_path}/fresh\n",
        "install.sh": INSTALL
        + f"echo new > {outside}/deep/kept.conf; echo new > {outside}/added; mkdir {tmp_path}/fresh"
        + '\necho "cannot go on"; exit 3\n',
    }
    server.want("pi-1", publish(server, tmp_path, "1.1.0", files))
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert (outside / "deep/kept.conf").read_text() == "old"
    assert (outside / "deep/kept.conf").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in outside.iterdir()) == ["deep"]
    assert not (tmp_path / "fresh").exists()
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("rolled_back", "InstallFailed")
    assert "install.sh exited with 3" in told.message
    assert "cannot go on" in told.message
    assert not (agent.root / "components/hello/saved").exists()


def test_the_packages_own_rollback_script_is_used_instead_of_the_old_install(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    undo = '#!/bin/sh\nprintf "undone to $TOWLINE_PREVIOUS_VERSION" > "$TOWLINE_ROOT/installed"\n'
    server.want("pi-1", publish(server, tmp_path, "1.1.0", BROKEN | {"rollback.sh": undo}))
    agent.call("once")
    assert agent.installed() == "undone to 1.0.0"
    assert server.last("pi-1").state == "rolled_back"


@pytest.mark.parametrize(
    "files",
    [
        {"rollback.sh": "#!/bin/sh\nexit 1\n"},
        {"install.sh": 'touch "$TOWLINE_ROOT/now-sick"; exit 1'},
    ],
)
def test_a_rollback_that_fails_is_told_as_failed(
    server: FleetServer, agent: AgentProcess, tmp_path: Path, files: dict[str, str]
) -> None:
    old = {"health.sh": '#!/bin/sh\ntest ! -e "$TOWLINE_ROOT/now-sick"\n'}
    server.want("pi-1", publish(server, tmp_path, "1.0.0", old))
    agent.call("once")
    server.want("pi-1", publish(server, tmp_path, "1.1.0", BROKEN | files))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "RollbackFailed")
    assert agent.current() == "1.0.0"


def test_a_first_release_that_fails_has_nothing_to_go_back_to(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0", SICK))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "NoPrevious")
    assert "HealthCheckFailed" in told.message
    assert agent.current() is None
    server.want("pi-1", publish(server, tmp_path, "1.0.1"))
    agent.call("once")
    assert agent.current() == "1.0.1"


def test_a_script_that_hangs_is_killed_with_its_children_at_the_limit(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    hangs = {"install.sh": '#!/bin/sh\nsleep 77 & echo $! > "$TOWLINE_ROOT/child"; wait\n'}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", hangs, install_timeout_s=1))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("rolled_back", "InstallFailed")
    assert "ran out of time" in told.message
    assert is_dead(int((agent.root / "child").read_text()))


def test_a_service_left_running_by_an_install_is_not_waited_for(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    leaves = {"install.sh": INSTALL + 'sleep 77 & echo $! > "$TOWLINE_ROOT/child"\n'}
    server.want("pi-1", publish(server, tmp_path, "1.0.0", leaves))
    agent.call("once")
    child = int((agent.root / "child").read_text())
    assert server.last("pi-1").state == "completed"
    assert not is_dead(child)
    os.kill(child, signal.SIGKILL)


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


SLEEPS = INSTALL + (
    'echo run >> "$TOWLINE_ROOT/runs"\n'
    'if [ $(wc -l < "$TOWLINE_ROOT/runs") -le TIMES ]; then\n'
    '  echo $$ > "$TOWLINE_ROOT/sleeper"; sleep 77; fi\n'
)


def kill_in_install(agent: AgentProcess) -> int:
    """Start `once`, kill -9 the agent inside install.sh; the number of install.sh's process."""
    marker = agent.root / "sleeper"
    marker.unlink(missing_ok=True)
    process = agent.start("once")
    until(lambda: marker.exists() and marker.read_text().endswith("\n"))
    process.kill()
    process.wait()
    return int(marker.read_text())


def test_kill_9_inside_an_install_runs_it_once_more_and_tells_so(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    files = {"install.sh": SLEEPS.replace("TIMES", "1")}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", files))
    left = kill_in_install(agent)
    assert agent.current() == "1.0.0"
    assert not is_dead(left)
    agent.call("once")
    assert is_dead(left)
    assert (agent.installed(), agent.current()) == ("1.1.0", "1.1.0")
    assert server.states("pi-1") == ["downloading", "installing", "verifying", "completed"]
    assert "was interrupted and run again" in server.last("pi-1").message


def test_an_install_that_is_cut_off_twice_is_rolled_back_as_power_loss(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    files = {"install.sh": SLEEPS.replace("TIMES", "9")}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", files))
    kill_in_install(agent)
    kill_in_install(agent)
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("rolled_back", "PowerLoss")
    assert not (agent.root / "known-bad").exists()


def test_a_rollback_that_never_ends_still_leads_back_to_the_old_release(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    cut = {"rollback.sh": "#!/bin/sh\nkill -9 $PPID\n", "backup.paths": "installed\n"}
    server.want("pi-1", publish(server, tmp_path, "1.1.0", SICK | cut))
    for _ in range(3):
        with agent.start("once") as process:
            process.communicate(timeout=30)
            assert process.returncode == -signal.SIGKILL
    assert (agent.installed(), agent.current()) == ("1.1.0", "1.1.0")
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "RollbackFailed")


def test_a_release_that_runs_outlives_the_loss_of_its_note(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    for note in (agent.root / "components/hello/releases").glob("*.json"):
        note.write_bytes(b"{")
    server.want("pi-1", publish(server, tmp_path, "1.1.0", SICK))
    agent.call("once")
    assert agent.current() == "1.0.0"
    assert server.last("pi-1").state == "rolled_back"


def test_a_script_may_die_of_any_signal(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    server.want("pi-1", publish(server, tmp_path, "1.1.0", {"install.sh": "kill -35 $$\n"}))
    agent.call("once")
    assert "was ended by signal 35" in server.last("pi-1").message
    assert agent.current() == "1.0.0"


def test_who_stops_the_agent_in_a_health_check_waits_for_nothing_and_rolls_nothing_back(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    slow = {"name": "slow", "delay": 600, "period": 1, "successes": 1, "timeout": 9}
    check = slow | {"tcp": {"port": 9}}
    server.want("pi-1", publish(server, tmp_path, "1.0.0", health=(check,)))

    def stands() -> tuple[str, int]:
        found = read(agent.root / "journal")
        attempt = found.attempt if found else None
        return (attempt.step, attempt.runs) if attempt else ("", 0)

    for runs in (1, 2, 2, 2):
        with agent.start("once") as process:
            try:
                until(lambda runs=runs: stands() == ("check", runs))  # type: ignore[misc]
                process.terminate()
                told = process.communicate(timeout=10)[1]
            finally:
                process.kill()
        assert process.returncode == 1
        assert "Traceback" not in told
        assert stands() == ("check", 1)
    assert agent.current() == "1.0.0"


def test_a_flipped_byte_in_a_served_package_changes_nothing(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    wanted = publish(server, tmp_path, "1.1.0")
    data = bytearray(server.packages["hello-1.1.0.tar.gz"])
    data[len(data) // 2] ^= 1
    server.packages["hello-1.1.0.tar.gz"] = bytes(data)
    server.want("pi-1", wanted)
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "ChecksumMismatch")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert list((agent.root / "downloads").iterdir()) == []


def test_a_package_that_cannot_be_had_fails_and_changes_nothing(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    give(server, agent, tmp_path, "1.0.0")
    wanted = publish(server, tmp_path, "1.1.0")
    server.packages.clear()
    server.want("pi-1", wanted)
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "DownloadFailed")
    assert agent.current() == "1.0.0"


def test_a_package_that_holds_more_than_was_signed_is_refused(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0", signed={"files": 1}))
    agent.call("once")
    told = server.last("pi-1")
    assert (told.state, told.reason) == ("failed", "TooManyFiles")
    assert list((agent.root / "components/hello/releases").iterdir()) == []


def test_a_full_disk_fails_as_no_space_and_changes_nothing(
    server: FleetServer, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here; test_fetch holds the rule with a stub")
    try:
        agent = AgentProcess(small / "device")
        agent.enrol(server)
        give(server, agent, tmp_path, "1.0.0")
        server.want("pi-1", publish(server, tmp_path, "1.1.0", {"big": "x" * 3_000_000}))
        agent.call("once")
        told = server.last("pi-1")
        assert (told.state, told.reason) == ("failed", "NoSpace")
        assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_reports_survive_a_server_that_is_away(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.takes_reports = False
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    assert agent.current() == "1.0.0"
    assert agent.status()["reportsWaiting"] > 0
    assert server.states("pi-1") == []
    server.takes_reports = True
    agent.call("once")
    assert server.states("pi-1") == ["downloading", "installing", "verifying", "completed"]
    assert agent.status()["reportsWaiting"] == 0
