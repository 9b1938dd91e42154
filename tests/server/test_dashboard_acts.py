"""Acts from the dashboard: what is offered to whom, what is said first, what is refused."""

import re

import httpx
import pytest
from sqlalchemy import insert, select, update

from tests.server.conftest import ORGANIZATION, AddRun, Device, Running, add_target, wall
from tests.server.test_dashboard_pages import add_devices, add_targets
from tests.server.test_device import device_seq
from tests.server.visiting import PAGE, Guest, Page
from towline.reconciler.server.dashboard.offered import offered
from towline.reconciler.store import tables as t
from towline.schemas.states import VERBS, RunState, Verb


def confirmation(guest: Guest, verb: str) -> Page:
    """The page that asks, found by the links of the run's page."""
    links = [each for each in guest.get("/deployments/hello").links() if "/devices/" not in each]
    (link,) = [each for each in links if each.endswith(f"/{verb}")]
    return guest.get(link)


def confirm(guest: Guest, verb: str, **fields: str) -> httpx.Response:
    """Do it as a person does."""
    return guest.send(confirmation(guest, verb).form(f"/{verb}"), **fields)


def holds(server: Running) -> list[str]:
    with server.store.read() as connection:
        return list(connection.execute(select(t.holds.c.reason)).scalars())


def test_a_run_is_paused_and_resumed_after_it_was_said_what_that_does(
    server: Running, add_run: AddRun
) -> None:
    seqs = add_devices(server, 5)
    run = add_run(target_count=5)
    add_targets(server, run, seqs[:2], "installing")
    add_targets(server, run, seqs[2:], "pending")
    guest = Guest(server).sign_in()
    asked = confirmation(guest, "pause")
    assert "2 devices finish, 3 wait." in asked.text
    answer = guest.send(asked.form("/pause"), reason="a look", **{"for": "4h"})
    assert answer.status_code == 303
    assert holds(server) == ["PausedByUser"]
    shown = guest.get(answer.headers["location"])
    assert "pause of hello was done: 2 devices finish, 3 wait" in shown.text
    assert "operator person: a look" in shown.text
    assert "was done" not in guest.get("/deployments/hello").text
    assert confirm(guest, "resume", reason="fine").status_code == 303
    assert holds(server) == []


def test_an_act_without_a_reason_is_asked_again(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server).sign_in()
    answer = confirm(guest, "pause", reason="  ")
    assert answer.status_code == 422
    assert "Say why" in answer.text
    assert holds(server) == []


@pytest.mark.parametrize("role", ["viewer", "planner"])
def test_a_role_that_may_not_act_is_offered_nothing_and_refused(
    server: Running, enrolled: Device, add_run: AddRun, role: str
) -> None:
    add_target(server, add_run(), device_seq(server), status="failed")
    guest = Guest(server).sign_in(role)
    verbs = "|".join(Verb)
    for path in ("", "/deployments/hello"):
        assert not [link for link in guest.get(path).links() if re.search(f"/({verbs})$", link)]
    form = guest.get().form("/sign-out")
    for path in ("/deployments/hello/pause", "/deployments/hello/devices/pi-0001/retry"):
        assert guest.get(path).status == 403
        form.action = f"{PAGE}{path}"
        answer = guest.send(form, reason="because", seen="in_progress")
        assert answer.status_code == 403
        assert f"you have {role}" in answer.text
    assert holds(server) == []


@pytest.mark.parametrize("csrf", ["", "guessed", None])
def test_an_act_without_the_visits_secret_is_refused(
    server: Running, add_run: AddRun, csrf: str | None
) -> None:
    add_run()
    guest = Guest(server).sign_in()
    fields = {"reason": "because", "seen": "in_progress"} | ({} if csrf is None else {"csrf": csrf})
    answer = guest.client.post(f"{PAGE}/deployments/hello/pause", data=fields)
    assert answer.status_code == 403
    assert holds(server) == []


def test_an_act_from_another_site_is_refused(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server).sign_in()
    form = confirmation(guest, "pause").form("/pause")
    answer = guest.client.post(
        form.action,
        data=form.fields | {"reason": "because"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert (answer.status_code, holds(server)) == (403, [])


def test_who_is_signed_out_changes_nothing(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server).sign_in()
    form = confirmation(guest, "pause").form("/pause")
    guest.client.cookies.clear()
    answer = guest.send(form, reason="because")
    assert answer.status_code == 401
    assert "nothing was done" in answer.text
    assert holds(server) == []


def test_a_run_that_moved_since_it_was_seen_is_409_with_what_is_allowed(
    server: Running, add_run: AddRun
) -> None:
    add_run()
    guest = Guest(server).sign_in()
    form = confirmation(guest, "pause").form("/pause")
    with server.store.write() as connection:
        connection.execute(update(t.runs).values(status="completed"))
    answer = guest.send(form, reason="because")
    assert answer.status_code == 409
    assert "The run is completed meanwhile" in answer.text
    assert "Allowed now: rollback" in answer.text
    assert guest.get("/deployments/hello/start").status == 409
    assert guest.get("/deployments/hello/explode").status == 422


def test_a_length_that_is_none_is_said_so(server: Running, add_run: AddRun) -> None:
    add_run()
    answer = confirm(Guest(server).sign_in(), "pause", reason="a look", **{"for": "soon"})
    assert (answer.status_code, holds(server)) == (422, [])


def test_a_rollback_of_many_devices_asks_for_the_name(server: Running, add_run: AddRun) -> None:
    add_targets(server, add_run(target_count=11), add_devices(server, 11), "completed")
    with server.store.write() as connection:
        connection.execute(update(t.targets).values(from_version="0.9.0", from_sha256="cd" * 32))
    guest = Guest(server).sign_in()
    assert "11 devices go back." in confirmation(guest, "rollback").text
    refused = confirm(guest, "rollback", reason="bad", name="hell")
    assert refused.status_code == 422
    assert "Type the name" in refused.text
    assert confirm(guest, "rollback", reason="bad", name="hello").status_code == 303
    with server.store.read() as connection:
        assert connection.execute(select(t.runs.c.goes_back)).scalar_one() == "RolledBackByUser"


def test_one_device_is_tried_again(server: Running, enrolled: Device, add_run: AddRun) -> None:
    add_target(server, add_run(), device_seq(server), status="failed", reason="HealthCheckFailed")
    guest = Guest(server).sign_in()
    links = [each for each in guest.get("/deployments/hello").links() if each.endswith("/retry")]
    asked = guest.get(links[0])
    assert "1 device tries 1.0.0 again" in asked.text
    answer = guest.send(asked.form("/retry"), reason="a new card")
    assert answer.status_code == 303
    assert "pi-0001 tries 1.0.0 again" in guest.get(answer.headers["location"]).text
    with server.store.read() as connection:
        assert connection.execute(select(t.targets.c.attempt)).scalar_one() == 2


def test_one_device_goes_back_only_where_it_can(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_target(
        server,
        add_run(),
        device_seq(server),
        status="completed",
        from_version="0.9.0",
        from_sha256="cd" * 32,
        completed_at=wall(),
    )
    guest = Guest(server).sign_in()
    asked = guest.get("/deployments/hello/devices/pi-0001/rollback")
    assert "goes back from 1.0.0 to 0.9.0" in asked.text
    answer = guest.send(asked.form("/rollback"), reason="bad")
    assert answer.status_code == 409
    assert "which it may not run again" in answer.text
    assert guest.get("/deployments/hello/devices/pi-0001/retry").status == 409
    assert guest.get("/deployments/hello/devices/none/retry").status == 404


def test_a_failed_gate_is_accepted_only_where_that_was_ticked(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(status="paused")
    hold = {"reason": "ThresholdNotMet", "message": "", "author": "", "since": wall()}
    owner = {"organization": ORGANIZATION, "deployment": "hello", "run_seq": run}
    with server.store.write() as connection:
        connection.execute(insert(t.holds), hold | owner)
    guest = Guest(server).sign_in()
    assert confirm(guest, "resume", reason="fine").status_code == 409
    assert confirm(guest, "resume", reason="fine", accept="yes").status_code == 303
    assert holds(server) == []


def test_nothing_is_offered_that_the_state_refuses() -> None:
    for status in RunState:
        shown = {
            "status": status.value,
            "reason": "WaitingForStart",
            "holds": [{"reason": "ThresholdNotMet"}, {"reason": "WaitingForApproval"}],
            "isReturn": True,
            "started_at": "2026-09-21T14:13:20Z",
            "goesBack": "",
        }
        assert set(offered(shown)) == {verb for verb in Verb if status in VERBS[verb]}
