"""Roots that are looked for, disks that spoil, servers that forget, clocks that are wrong."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agent.fleet_server import Answer, FleetServer, Keys
from tests.agent.misbehaving import Misbehaving
from tests.agent.packages import AgentProcess, publish
from tests.agent.test_crashes import Crash, crash_at
from towline.agent import device as devices
from towline.agent import identity, loop, trust_store
from towline.agent.actions import Hold
from towline.agent.clock import system_clock
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.rhythm import Polled, renew_at
from towline.agent.server import Answer as ServerAnswer
from towline.agent.stop import Stop
from towline.agent.trust_store import TrustStore
from towline.agent.wire import Line, Unreachable
from towline.schemas.desired_state import ComponentAction
from towline.schemas.problems import Problem, Refused
from towline.schemas.verifier import BUILT_AT, Clock

DAY_S = 86_400


@pytest.fixture
def device(agent: AgentProcess) -> Iterator[Device]:
    layout = Layout(agent.root)
    found = Device(layout, identity.load(layout), Stop())
    yield found
    found.server.close()


def asked_for_roots(server: FleetServer) -> int:
    return sum(request.startswith("GET /api/v1/ota/root/") for request in server.requests)


def test_a_newer_root_is_looked_for_after_a_start_and_once_a_day(
    server: FleetServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.requests.clear()
    for _ in range(3):
        loop.poll(device, 0)
    assert asked_for_roots(server) == 1
    monkeypatch.setattr(devices, "ROOT_LOOK_S", -1)
    server.roots.append(server.keys.make_root(2).sign(server.keys.root))
    loop.poll(device, 0)
    assert device.trust.root.version == 2
    assert (device.layout.trust / "root" / "2.json").read_bytes() == server.roots[1]


def test_a_false_root_is_told_and_the_one_at_hand_goes_on_to_count(
    server: FleetServer, device: Device, tmp_path: Path
) -> None:
    stranger = Keys()
    server.roots.append(stranger.make_root(2).sign(stranger.root))
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    assert loop.poll(device, 0) is Polled.CHANGED
    assert [r.rejected for _, r in server.reports if r.rejected] == ["threshold"]
    assert device.trust.root.version == 1
    assert not (device.layout.trust / "root" / "2.json").exists()


@pytest.mark.parametrize("why", ["threshold", "root-version", "root-expired"])
def test_a_newer_root_is_asked_for_at_once_where_it_may_cure_a_refusal(
    server: FleetServer, device: Device, tmp_path: Path, why: str
) -> None:
    loop.poll(device, 0)
    old = server.keys
    match why:
        case "threshold":
            server.keys = Keys(root=old.root, release=old.release)
        case "root-version":
            server.root_version = 2
        case "root-expired":
            device.trust.root = replace(device.trust.root, expires=int(time.time()))
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    assert loop.poll(device, 0) is Polled.FAILED
    assert [r.rejected for _, r in server.reports if r.rejected] == [why]
    server.roots.append(server.keys.make_root(2).sign(old.root, server.keys.root))
    assert loop.poll(device, 0) is Polled.CHANGED
    assert device.trust.root.version == 2


def test_a_document_that_is_refused_is_told_once(server: FleetServer, device: Device) -> None:
    server.tamper = lambda document: replace(document, nonce="A" * 22)
    for _ in range(2):
        assert loop.poll(device, 0) is Polled.FAILED
    assert [report.rejected for _, report in server.reports if report.rejected] == ["nonce"]


def test_no_more_than_64_roots_are_followed_in_one_go(device: Device) -> None:
    keys, asked = Keys(), []
    device.trust.root = keys.make_root()

    def fetch(number: int) -> bytes:
        asked.append(number)
        return keys.make_root(number).sign(keys.root)

    assert device.trust.follow(fetch)
    assert asked == list(range(2, 66))


def test_a_spoilt_state_is_as_none_but_what_runs_still_forbids_what_is_older(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "2.0.0", signed={"rollback_index": 2}))
    agent.call("once")
    for spoilt in (b"", b"{", b"[]", b'{"sequence": "x"}', b"\xff"):
        (agent.root / "trust" / "state.json").write_bytes(spoilt)
        trust = TrustStore(Layout(agent.root), "acme")
        assert trust.stored is None
        assert (trust.state.sequence, trust.state.time_floor) == (0, BUILT_AT)
        assert trust.state.rollback_indexes == {"hello": 2}


def test_a_device_with_a_spoilt_state_goes_on(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "2.0.0", signed={"rollback_index": 2}))
    agent.call("once")
    state = agent.root / "trust" / "state.json"
    state.write_bytes(b"{")
    server.want("pi-1", publish(server, tmp_path, "1.0.0", signed={"rollback_index": 1}))
    agent.call("once", status=1)
    assert (agent.current(), agent.status()["refused"]) == ("2.0.0", "rollback-index")
    server.want("pi-1", publish(server, tmp_path, "2.1.0", signed={"rollback_index": 2}))
    agent.call("once")
    assert agent.current() == "2.1.0"
    assert json.loads(state.read_bytes())["rollbackIndexes"] == {"hello": 2}


@pytest.mark.parametrize("after", [False, True])
def test_a_stop_while_a_document_is_taken_leaves_the_old_or_the_new_one_and_never_less(
    server: FleetServer, device: Device, tmp_path: Path, after: bool
) -> None:
    """Row 40, with every durable write of a poll as the place to stop at."""
    loop.poll(device, 0)
    taken = device.trust.state.sequence
    for number in range(20):
        server.want("pi-1", publish(server, tmp_path, f"1.0.{number}"))
        was_cut = False
        try:
            with crash_at(number, after=after):
                loop.poll(device, 0)
        except Crash:
            was_cut = True
        device.server.close()
        device = Device(device.layout, device.identity, Stop())
        assert device.trust.state.sequence >= taken
        stored = device.trust.recall(device.identity.claims(), system_clock())
        assert stored is not None
        assert stored.document.sequence == device.trust.state.sequence
        taken = device.trust.state.sequence
        if not was_cut:
            assert number > 0
            return
    raise AssertionError("there is no end of writes")


def test_of_a_spoilt_root_the_one_before_counts_and_is_followed_once_more(
    server: FleetServer, device: Device
) -> None:
    server.roots.append(server.keys.make_root(2).sign(server.keys.root))
    loop.poll(device, 0)
    newest = device.layout.trust / "root" / "2.json"
    newest.write_bytes(b"")
    store = TrustStore(device.layout, "acme")
    assert store.root.version == 1
    assert store.follow(device.server.root)
    assert newest.read_bytes() == server.roots[1]
    for path in newest.parent.iterdir():
        path.write_bytes(b"")
    with pytest.raises(Problem, match="root 2 is not valid"):
        TrustStore(device.layout, "acme")
    for path in newest.parent.iterdir():
        path.unlink()
    with pytest.raises(Problem, match="trusts nobody yet"):
        TrustStore(device.layout, "acme")


def test_a_server_that_forgot_the_device_hears_of_it_again_and_a_person_lets_it_in(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    key = server.devices.pop("pi-1")
    server.sessions.clear()
    server.needs_approval = True
    told = agent.call("once", status=1).stderr
    assert f"waits for approval, fingerprint {key.keyid[:8]}" in told
    assert server.requests[-1] == "POST /api/v1/ota/enroll"
    server.devices["pi-1"] = key
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    assert agent.current() == "1.0.0"


def test_a_server_that_forgot_the_device_and_will_not_have_it_is_asked_later(
    server: FleetServer, agent: AgentProcess
) -> None:
    server.devices.clear()
    server.sessions.clear()
    assert "does not let this device in" in agent.call("once", status=1).stderr


def test_an_answer_of_nothing_new_is_believed_until_the_document_expires_and_no_longer(
    server: FleetServer, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 11: who answers 304 for ever freezes nothing beyond the document's own end."""
    device.layout.make()
    server.want("pi-1", publish(server, tmp_path, "1.0.0", action=ComponentAction.KEEP))
    assert loop.poll(device, 0) is Polled.CHANGED
    document = device.trust.recall(device.identity.claims(), Clock(int(time.time()), True))
    assert document is not None
    unchanged = server.document
    monkeypatch.setattr(server, "document", lambda *_: Answer(304))
    assert loop.poll(device, 60) is Polled.UNCHANGED, "it did not wait"
    assert loop.poll(device, 0) is Polled.UNCHANGED, "nobody asked it to"
    device.timekeeper.raise_floor(renew_at(document.document))
    assert loop.poll(device, 0) is Polled.FAILED
    monkeypatch.setattr(server, "document", unchanged)
    assert loop.poll(device, 0) is Polled.UNCHANGED, "a new document of the same"
    monkeypatch.setattr(server, "document", lambda *_: Answer(304))
    device.timekeeper.raise_floor(document.document.expires)
    assert loop.poll(device, 0) is Polled.FAILED
    (hold,) = loop.decide_now(device)
    assert isinstance(hold, Hold)
    assert hold.reason == "WaitingForDocument"


@pytest.mark.parametrize(
    "tag",
    ['"a\n b"', '"a\r\n\tb"', "W/", '"a" "b"', '"\x00"', '"é"', '"' + "a" * 99 + '"', '""', ""],
)
def test_a_tag_that_could_not_be_sent_back_is_not_kept(tag: str) -> None:
    assert ServerAnswer(200, {"etag": tag}, b"").tag == ""
    assert ServerAnswer(200, {"etag": '"0123abcd"'}, b"").tag == '"0123abcd"'


def test_a_token_that_could_not_be_sent_back_is_none(
    server: FleetServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("a\r\nX: y", "a\0", "", "é", "a b", 5, None):
        body = json.dumps({"token": token, "expiresIn": 3600}).encode()
        monkeypatch.setattr(server, "session", lambda _, body=body: Answer(200, body))
        with pytest.raises(Unreachable, match="token is none"):
            device.server.open_session(device.claims(), 0)


def test_the_owner_lists_the_hosts_that_packages_may_come_from(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    listed = agent.root / "trust" / "hosts"
    listed.write_text("# ours\nFiles.example.com  # the shop\n\n")
    assert trust_store.hosts(Layout(agent.root)) == ("files.example.com",)
    server.want("pi-1", publish(server, tmp_path, "1.0.0", urls=("https://cdn.example.com/a",)))
    agent.call("once")
    assert server.last("pi-1").reason == "DownloadFailed"
    assert "cdn.example.com is not listed" in server.last("pi-1").message
    listed.write_bytes(b"\xff")
    with pytest.raises(Problem, match="list of package hosts"):
        trust_store.hosts(Layout(agent.root))


def test_a_certificate_that_the_disk_has_spoilt_is_a_problem_and_not_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert trust_store.pin(layout) is None
    layout.trust.mkdir(parents=True)
    for spoilt in (b"", b"\xff", b"no certificate"):
        (layout.trust / "server.pem").write_bytes(spoilt)
        with pytest.raises(Problem, match="certificate cannot be read"):
            trust_store.pin(layout)


def shown(
    folder: Path, days: tuple[int, int], least_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shake hands with a server whose certificate is valid on these days from now."""
    server = Misbehaving(folder, days)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "tls.pem"))
    line = Line("localhost", server.port, None, least_time=least_time)
    try:
        line.connect()
    finally:
        line.close()
        server.close()


def test_a_clock_of_1970_does_not_keep_a_device_from_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    shown(tmp_path, (-1, 30), now, monkeypatch)
    with pytest.raises(OSError, match="not yet valid"):
        shown(tmp_path, (100, 200), now, monkeypatch)
    shown(tmp_path, (100, 200), now + 150 * DAY_S, monkeypatch)


def test_a_certificate_that_ended_before_the_least_time_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="server-certificate"):
        shown(tmp_path, (-1, 30), int(time.time()) + 31 * DAY_S, monkeypatch)
