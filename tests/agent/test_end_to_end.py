"""Real agent processes against a real TLS server that signs for real: the ordinary ways."""

import dataclasses
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from tests.agent.fleet_server import FleetServer, Keys, with_action
from tests.agent.packages import AgentProcess, again, publish, until
from towline.schemas.desired_state import ComponentAction
from towline.schemas.root import Role
from towline.schemas.states import TargetState


def test_a_good_release_is_installed_reported_and_verified(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    done = agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert server.states("pi-1") == ["downloading", "installing", "verifying", "completed"]
    after = [report for _, report in server.reports][-1]
    assert after.attempt is None
    assert after.versions["hello"].version == "1.0.0"
    assert "downloading hello 1.0.0" in done.stderr
    assert "throw-away development keys" in done.stderr
    status = agent.status()
    assert status["components"]["hello"]["state"] == "completed"
    assert status["downloads"] == 1


def test_exactly_one_report_of_versions_follows_a_completion(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    for _ in range(3):
        agent.call("once")
    told = [report for _, report in server.reports]
    states = [report.attempt.state if report.attempt else None for report in told]
    after = states[states.index(TargetState.COMPLETED) + 1 :]
    # room that other programs take on the disk meanwhile is news too
    news = sum(former.facts != later.facts for former, later in pairwise(told))
    assert set(after) == {None}
    assert 1 <= len(after) <= 1 + news


def test_what_runs_already_is_completed_without_touching_it(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    wanted = publish(server, tmp_path, "1.0.0")
    server.want("pi-1", wanted)
    agent.call("once")
    (agent.root / "installed").write_text("untouched")
    server.reports.clear()
    server.want("pi-1", again(wanted))
    agent.call("once")
    assert server.states("pi-1") == ["completed"]
    assert agent.installed() == "untouched"


def test_keep_begins_nothing(server: FleetServer, agent: AgentProcess, tmp_path: Path) -> None:
    wanted = publish(server, tmp_path, "1.0.0")
    server.want("pi-1", with_action(wanted, ComponentAction.KEEP))
    agent.call("once")
    assert (agent.installed(), server.states("pi-1")) == (None, [])


def test_a_return_comes_from_the_local_previous_without_a_download(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    old = publish(server, tmp_path, "1.0.0")
    for wanted in (old, publish(server, tmp_path, "1.1.0")):
        server.want("pi-1", wanted)
        agent.call("once")
    assert agent.current() == "1.1.0"
    server.packages.clear()
    server.want("pi-1", again(old))
    agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert server.last("pi-1").state == "completed"
    assert agent.status()["downloads"] == 2


def test_components_are_installed_one_after_the_other(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want(
        "pi-1",
        publish(server, tmp_path, "1.0.0"),
        publish(server, tmp_path, "2.0.0", name="other"),
    )
    agent.call("once")
    told = [(r.attempt.component, r.attempt.state) for _, r in server.reports if r.attempt]
    assert [component for component, _ in told] == ["hello"] * 4 + ["other"] * 4
    assert (agent.current("hello"), agent.current("other")) == ("1.0.0", "2.0.0")


def test_a_script_sees_its_variables_and_nothing_of_the_agents_environment(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    script = '#!/bin/sh\n/usr/bin/env > "$TOWLINE_ROOT/seen"\npwd > "$TOWLINE_ROOT/where"\n'
    for version in ("1.0.0", "1.1.0"):
        server.want("pi-1", publish(server, tmp_path, version, {"install.sh": script}))
        agent.call("once")
    seen = dict(line.split("=", 1) for line in (agent.root / "seen").read_text().splitlines())
    ours = {name: value for name, value in seen.items() if name.startswith("TOWLINE_")}
    others = set(seen) - set(ours) - {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert others <= {"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE"}
    assert (agent.root / "where").read_text().strip() == ours["TOWLINE_RELEASE"]
    releases = {
        name: Path(ours.pop(name)) for name in ("TOWLINE_RELEASE", "TOWLINE_PREVIOUS_RELEASE")
    }
    assert [(path / "version.txt").read_text() for path in releases.values()] == ["1.1.0", "1.0.0"]
    assert ours == {
        "TOWLINE_COMPONENT": "hello",
        "TOWLINE_VERSION": "1.1.0",
        "TOWLINE_PREVIOUS_VERSION": "1.0.0",
        "TOWLINE_ROOT": str(agent.root),
        "TOWLINE_DEVICE": "pi-1",
        "TOWLINE_ATTEMPT": "1",
    }


def test_run_follows_changes_as_they_come_and_stops_when_told(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    process = agent.start("run")
    until(lambda: "GET /api/v1/ota/desired-state" in server.requests)
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    until(lambda: any(r.attempt is None and r.versions for _, r in server.reports))
    assert agent.installed() == "1.0.0"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_wish_to_stop_ends_a_parked_poll(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    process = agent.start("run")
    until(lambda: server.parked > 0)
    process.terminate()
    assert process.wait(10) == 0


def test_a_second_agent_in_the_same_folder_is_refused(
    server: FleetServer, agent: AgentProcess
) -> None:
    process = agent.start("run")
    until(lambda: "GET /api/v1/ota/desired-state" in server.requests)
    assert "another agent is running" in agent.call("once", status=1).stderr
    process.terminate()
    assert process.wait(10) == 0


def test_a_session_that_the_server_forgot_is_opened_anew(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    process = agent.start("run")
    until(lambda: "GET /api/v1/ota/desired-state" in server.requests)
    server.sessions.clear()
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    until(lambda: server.states("pi-1")[-1:] == ["completed"])
    process.terminate()
    assert process.wait(10) == 0


def test_a_new_online_key_is_followed_through_the_chain_of_roots(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    old = server.keys
    server.keys = Keys(root=old.root, release=old.release)
    new = server.keys.make_root(2, online=Role((server.keys.online.public,), 1))
    server.roots.append(new.sign(old.root))
    server.want("pi-1", publish(server, tmp_path, "1.1.0"))
    agent.call("once")
    assert agent.current() == "1.1.0"
    assert (agent.root / "trust/root/2.json").exists()


def test_a_document_signed_by_a_key_that_no_root_names_is_refused_and_told(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    server.keys = Keys(root=server.keys.root, release=server.keys.release)
    server.want("pi-1", publish(server, tmp_path, "1.1.0"))
    for _ in range(2):
        agent.call("once", status=1)
    assert agent.current() == "1.0.0"
    assert agent.status()["refused"] == "threshold"
    assert [r.rejected for _, r in server.reports if r.rejected] == ["threshold"]


def test_a_release_below_the_committed_rollback_index_is_refused(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "2.0.0", signed={"rollback_index": 2}))
    agent.call("once")
    server.want("pi-1", publish(server, tmp_path, "1.0.0", signed={"rollback_index": 1}))
    agent.call("once", status=1)
    assert (agent.current(), agent.status()["refused"]) == ("2.0.0", "rollback-index")


def test_an_index_that_was_never_healthy_does_not_forbid_the_old_release(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    bad = {"health.sh": "#!/bin/sh\nexit 1\n"}
    server.want("pi-1", publish(server, tmp_path, "1.0.0", signed={"rollback_index": 1}))
    agent.call("once")
    server.want("pi-1", publish(server, tmp_path, "2.0.0", bad, signed={"rollback_index": 2}))
    agent.call("once")
    server.want("pi-1", publish(server, tmp_path, "1.1.0", signed={"rollback_index": 1}))
    agent.call("once")
    assert agent.current() == "1.1.0"


def test_a_replayed_document_is_refused(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.tamper = lambda document: dataclasses.replace(document, nonce="A" * 22)
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once", status=1)
    assert agent.status()["refused"] == "nonce"
    assert agent.installed() is None


def test_status_tells_people_what_the_device_waits_for(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    assert "WaitingForDocument" in agent.call("status", "--why").stdout
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    told = agent.call("status", "--why").stdout
    assert "hello  1.0.0, wanted 1.0.0  ✓ completed" in told
    assert "NextDocument the server answered last at 20" in told
    assert "throw-away development keys" in told


def test_importing_the_agent_loads_nothing_of_the_server() -> None:
    code = (
        "import sys, towline.agent.main\n"
        "print([name for name in ('pydantic', 'yaml', 'fastapi', 'sqlalchemy', 'git', 'typer',"
        " 'towline.manifests', 'towline.reconciler', 'towline.cli') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
