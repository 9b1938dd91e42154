"""What a scraper reads: who may, what devices' calls count, and what others do not see."""

import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from tests.server.conftest import NOW, AddRun, Device, Running
from towline.reconciler.server import inlet
from towline.reconciler.store import device_keys, people
from towline.reconciler.store import tables as t
from towline.reconciler.store.people import Role
from towline.reconciler.tallies import BOUNDS_S, POLLS, REPORTS, TURNED_AWAY, Durations

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "metrics.md"
COUNTED = [
    *(f"towline_polls_total {each}" for each in POLLS),
    *(f"towline_reports_total {each}" for each in REPORTS),
    *(f"towline_turned_away_total {each}" for each in TURNED_AWAY),
]


def scraped(server: Running, **headers: str) -> dict[str, float]:
    """Every sample by its name and labels, as the text writes them."""
    answer = server.client.get("/metrics", headers=headers or server.admin("viewer"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        f"{sample.name}{''.join(f' {value}' for value in sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_without_a_token_nothing_is_told(server: Running) -> None:
    answer = server.client.get("/metrics")
    assert (answer.status_code, answer.json()["code"]) == (401, "token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", list(Role))
def test_every_role_may_read(server: Running, role: Role) -> None:
    assert server.client.get("/metrics", headers=server.admin(role)).status_code == 200


def test_polls_and_reports_are_counted_by_their_outcome(server: Running, enrolled: Device) -> None:
    etag = enrolled.poll().headers["etag"]
    assert enrolled.poll(etag).status_code == 304
    assert enrolled.report(enrolled.facts(), enrolled.facts()).status_code == 204
    assert enrolled.report({"journal": 1}).status_code == 400
    assert Device(server, token="of nobody").poll().status_code == 401
    found = scraped(server)
    assert found["towline_polls_total document"] == 1
    assert found["towline_polls_total unchanged"] == 1
    assert found["towline_reports_total accepted"] == 2
    assert found["towline_reports_total refused"] == 1
    assert found["towline_turned_away_total session"] == 1
    # Enrolment, session and reports were three commits.
    assert found["towline_flush_seconds_count"] >= 3
    assert found["towline_flush_seconds_sum"] > 0
    assert found["towline_flush_failures_total"] == 0
    assert found["towline_report_queue"] == 0


def test_every_outcome_is_counted_from_0_on(server: Running) -> None:
    found = scraped(server)
    assert {name: found.get(name) for name in COUNTED} == dict.fromkeys(COUNTED, 0)


def test_the_outcomes_are_those_that_the_code_counts_and_the_page_tells() -> None:
    page = PAGE.read_text()
    sources = [file.read_text() for file in (PROJECT / "towline/reconciler").rglob("*.py")]
    for name, known in (("polls", POLLS), ("reports", REPORTS), ("turned_away", TURNED_AWAY)):
        noted = re.compile(rf'tally\.{name}\[(?:[\w.]+, )?"(\w+)"\]')
        assert {word for text in sources for word in noted.findall(text)} == set(known)
        line = next(each for each in page.splitlines() if f"towline_{name}_total" in each)
        assert all(f"`{word}`" in line for word in known)


def test_devices_and_runs_are_those_of_now(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run("hello")
    add_run("other", status="completed", component="other")
    found = scraped(server)
    assert (found["towline_devices online"], found["towline_devices offline"]) == (1, 0)
    assert found["towline_runs in_progress"] == 1
    assert found["towline_runs completed"] == 1
    assert found["towline_runs failed"] == 0
    assert found["towline_leader"] == 1


def test_who_waits_and_who_is_out_is_told(server: Running, enrolled: Device) -> None:
    Device(server, "pi-0002").enrol()
    found = scraped(server)
    assert (found["towline_enrolments"], found["towline_devices_out revoked"]) == (1, 0)
    with server.store.write() as connection:
        seq = connection.execute(select(t.edge_devices.c.seq)).scalar_one()
        device_keys.hold_as_duplicate(connection, "acme", seq, 1)
    found = scraped(server)
    assert (found["towline_devices_out duplicate"], found["towline_devices online"]) == (1, 0)


def test_who_refuses_a_document_is_counted_until_it_accepts_one(
    server: Running, enrolled: Device
) -> None:
    counted = []
    for told in ({"rejected": "threshold"}, {}, {"lastSequence": 1}):
        assert enrolled.report(enrolled.facts(**told)).status_code == 204
        counted.append(scraped(server)["towline_devices_refusing"])
    assert counted == [1, 1, 0]


def test_a_parked_poll_shows_while_it_waits(server: Running, enrolled: Device) -> None:
    etag = enrolled.poll().headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(enrolled.poll, etag, 30)
        for _ in range(100):
            if scraped(server)["towline_parked_polls"] == 1:
                break
        else:
            pytest.fail("it never showed")
        server.end()
        assert parked.result().status_code == 304


def test_another_organization_sees_its_own_figures(server: Running, enrolled: Device) -> None:
    enrolled.poll()
    with server.store.write() as connection:
        token = people.create_admin_token(
            connection, "other", name="Mallory", role=Role.ADMIN, now=NOW
        )
    found = scraped(server, Authorization=f"Bearer {token}")
    polls = {n for name, n in found.items() if name.startswith("towline_polls_total")}
    assert polls == {0}
    assert found["towline_devices online"] == 0
    assert "towline_leader" not in found


def test_who_comes_to_a_full_queue_is_asked_to_come_later(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inlet, "LETTERS_LIMIT", 1)
    with ThreadPoolExecutor(8) as pool:
        # The writer waits for this transaction: one letter is taken, one waits.
        with server.store.write():
            sent = [pool.submit(enrolled.report, enrolled.facts()) for _ in range(8)]
            busy = [each.result() for each in islice(as_completed(sent, timeout=30), 6)]
        answers = [each.result() for each in sent]
    assert [each.status_code for each in busy] == [503] * 6
    assert {each.headers["retry-after"] for each in busy} == {"10"}
    assert {each.json()["code"] for each in busy} == {"busy"}
    assert [each.status_code for each in answers].count(204) == 2
    assert scraped(server)["towline_turned_away_total busy"] == 6


def test_durations_fall_into_their_steps() -> None:
    found = Durations()
    for seconds in (0.0, BOUNDS_S[0], 0.003, 3600.0):
        found.note(seconds)
    assert (found.counts[0], found.counts[1], found.counts[-1]) == (2, 1, 1)
    assert found.total_s == pytest.approx(3600.005)


def test_the_page_names_every_metric(server: Running, enrolled: Device) -> None:
    enrolled.poll()
    enrolled.report(enrolled.facts())
    Device(server, token="of nobody").poll()
    text = server.client.get("/metrics", headers=server.admin("viewer")).text
    page = PAGE.read_text()
    families = [each for each in text_string_to_metric_families(text) if "towline" in each.name]
    assert len(families) > 10
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        of = f"{{{','.join(labels)}}}" if labels else ""
        assert f"| `{name}{of}` | {family.type} |" in page
