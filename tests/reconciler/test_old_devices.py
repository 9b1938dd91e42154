"""Old devices in a rollout: they verify nothing, so the server does what an agent would do."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from tests.reconciler.looking import AT_ONCE, outcome, target, twin
from tests.reconciler.simulation import RELEASE_KEY, Simulation, checksum, manifest, statement
from towline.reconciler import old_devices
from towline.reconciler.old_devices import StepRefused, UnknownTarget
from towline.reconciler.store import device_tokens
from towline.reconciler.store import tables as t
from towline.reconciler.store.presence import mark_seen
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role
from towline.schemas.states import TargetState, Verb

OLD = "till-1"
RELEASE = Role((RELEASE_KEY.public,), 1)
STEPS = ("downloading", "installing", "verifying", "completed")
NIGHT = '  windows: [{allow: {days: daily, start: "01:00", length: 4h}}]\n'


def ask(fleet: Simulation, device: str = OLD, release: Role = RELEASE) -> dict[str, Any] | None:
    """One check-update, as the server does it; then a pass."""
    seq = fleet.devices[device].seq
    with fleet.store.write() as connection:
        mark_seen(connection, {seq: fleet.now})
        seen = old_devices.look(connection, seq, release, "https://server/packages/", fleet.now)
        if seen.says_anything:
            old_devices.tell(connection, seq, seen, fleet.now)
    fleet.settle()
    return seen.offer


def say(fleet: Simulation, word: str, *, device: str = OLD, message: str = "") -> None:
    run_id: UUID = fleet.run().id
    with fleet.store.write() as connection:
        seq = fleet.devices[device].seq
        old_devices.step(connection, seq, run_id, TargetState(word), message, fleet.now)
    fleet.settle()


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """One old device, alone."""
    return Simulation(tmp_path_factory.mktemp("beginning"), devices=1)


@pytest.fixture
def fleet(beginning: Simulation, tmp_path: Path) -> Simulation:
    """A copy; the device stages nothing by itself."""
    played = twin(beginning, tmp_path)
    played.stages_at_once = False
    return played


def bring(fleet: Simulation, version: str) -> None:
    """A whole update of the old device."""
    fleet.commit(manifest(version, AT_ONCE))
    assert ask(fleet) is None
    assert ask(fleet) is not None
    for word in STEPS:
        say(fleet, word)
    assert ask(fleet) is None


def test_a_device_is_offered_its_update_after_the_pass_that_grants_it(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    assert ask(fleet) is None
    offer = ask(fleet)
    assert offer == {
        "update_available": True,
        "deployment_id": str(fleet.run().id),
        "target_version": "1.0.0",
        "update_package_url": "https://server/packages/app-1.0.0.tar.gz",
        "checksum": f"sha256:{checksum('1.0.0')}",
        "release_notes": "",
    }
    assert ask(fleet) == offer


def test_that_it_asks_again_after_completed_is_its_verdict(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    ask(fleet)
    ask(fleet)
    for word in STEPS:
        say(fleet, word)
        assert outcome(fleet, OLD)[0] == word
    assert fleet.run().status == "in_progress"
    ask(fleet)
    assert fleet.run().status == "completed"
    assert target(fleet, OLD).verified_at == fleet.now


def test_a_return_is_offered_as_the_former_release(fleet: Simulation) -> None:
    bring(fleet, "1.0.0")
    bring(fleet, "2.0.0")
    fleet.verb(Verb.ROLLBACK)
    offer = ask(fleet)
    assert offer is not None
    assert offer["target_version"] == "1.0.0"
    assert offer["checksum"] == f"sha256:{checksum('1.0.0')}"
    say(fleet, "completed")
    assert outcome(fleet, OLD) == ["rolled_back", "RolledBackByUser"]
    say(fleet, "completed")
    assert ask(fleet) is None


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (("downloading", "failed"), ["failed", "DownloadFailed"]),
        (("downloading", "installing", "rolled_back"), ["rolled_back", "InstallFailed"]),
        (("installing", "verifying", "rolled_back"), ["rolled_back", "HealthCheckFailed"]),
        (("installing", "failed"), ["failed", "RollbackFailed"]),
    ],
)
def test_how_it_ends_follows_from_its_last_step(
    fleet: Simulation, words: tuple[str, ...], ends: list[str]
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    ask(fleet)
    ask(fleet)
    for word in words:
        say(fleet, word, message="no room")
    assert outcome(fleet, OLD) == ends
    assert target(fleet, OLD).error_message == "no room"


def test_a_pause_takes_the_offer_back_and_refuses_the_install(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    ask(fleet)
    assert ask(fleet) is not None
    say(fleet, "downloading")
    fleet.verb(Verb.PAUSE)
    assert ask(fleet) is None
    with pytest.raises(StepRefused, match="no leave to install"):
        say(fleet, "installing")


@pytest.mark.parametrize("word", ["downloading", "installing"])
def test_a_step_back_is_refused_and_a_repeat_is_not(fleet: Simulation, word: str) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    ask(fleet)
    ask(fleet)
    for step in (*STEPS[:3], "verifying"):
        say(fleet, step)
    with pytest.raises(StepRefused, match="is verifying here already"):
        say(fleet, word)


def test_who_has_no_part_in_a_run_is_told_so(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  filters: {devices: [ghost]}\n"))
    with pytest.raises(UnknownTarget):
        say(fleet, "downloading")


def test_a_statement_of_another_key_is_never_offered(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    assert ask(fleet, release=Role((PrivateKey.generate().public,), 1)) is None
    assert outcome(fleet, OLD) == ["failed", "SignatureInvalid"]


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"format": "tree"}, ["failed", "DownloadFailed"]),
        ({"device_types": ("camera",)}, ["failed", "SignatureInvalid"]),
        ({"sha256": "ab" * 32}, ["failed", "SignatureInvalid"]),
    ],
)
def test_what_the_statement_does_not_say_is_not_offered(
    fleet: Simulation, changes: dict[str, Any], ends: list[str]
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    offer = fleet.run().offer
    signed = replace(statement("1.0.0"), **changes).sign(RELEASE_KEY)
    offer["releases"][0]["statement"] = signed.document()
    with fleet.store.write() as connection:
        connection.execute(update(t.runs).values(offer=offer))
    assert ask(fleet) is None
    assert outcome(fleet, OLD) == ends


def test_a_closed_window_is_waited_for_in_its_place(fleet: Simulation) -> None:
    fleet.now = 1_800_014_400  # noon in UTC
    fleet.commit(manifest("1.0.0", AT_ONCE + NIGHT))
    ask(fleet)
    assert ask(fleet) is None
    waiting = target(fleet, OLD)
    assert (waiting.reason, waiting.waits) == ("WaitingForWindow", "WaitingForWindow")
    assert "until 2027-01-16T01:00:00Z" in waiting.error_message
    number = waiting.waits_since
    ask(fleet)
    assert target(fleet, OLD).waits_since == number
    fleet.now += 14 * 3600
    assert ask(fleet) is not None


def test_a_download_that_outlasts_its_window_waits_for_the_next_one(fleet: Simulation) -> None:
    fleet.now = 1_800_061_200 + 210 * 60  # 04:30 in UTC
    fleet.commit(manifest("1.0.0", AT_ONCE + NIGHT))
    ask(fleet)
    assert ask(fleet) is not None
    say(fleet, "downloading")
    fleet.now += 35 * 60
    with pytest.raises(StepRefused, match=r"installing is refused: .*, until 2027-01-17T01:00:00Z"):
        say(fleet, "installing")
    assert ask(fleet) is None
    fleet.now += (19 * 60 + 55) * 60
    assert ask(fleet) is not None
    for word in STEPS[1:]:
        say(fleet, word)
    ask(fleet)
    assert fleet.run().status == "completed"


def test_a_failing_old_device_stops_a_canary_like_any_other(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=10)
    fleet.commit(manifest("1.0.0", "  strategy: {type: canary, percentage: 10}\n  order: name\n"))
    for word in ("installing", "rolled_back"):
        say(fleet, word)
    assert fleet.run().status == "paused"


def test_the_list_of_tokens_is_of_one_organization(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        token = device_tokens.create(connection, "acme", OLD, "Ada", fleet.now)
        assert device_tokens.count(connection, "acme") == 1
        assert device_tokens.count(connection, "other") == 0
        device_tokens.let_in(connection, "other", "Ada", fleet.now)
        found = device_tokens.find(connection, token)
        assert found is not None
        assert not found.is_let_in
        connection.execute(update(t.edge_devices).values(state="revoked"))
        assert device_tokens.find(connection, token) is None
