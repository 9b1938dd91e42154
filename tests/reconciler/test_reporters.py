"""Reports of one transaction: read and kept together, judged one after the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.ingest import commit_reports
from towline.reconciler.store import dirt, leaving, migrate
from towline.reconciler.store import tables as t
from towline.schemas.reports import Installed, Report

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path, devices=40)
    yield made
    made.store.close()


def report(number: int, journal: str = "j", **changes: Any) -> Report:
    return Report(journal, number, changes.pop("last_sequence", 0), **changes)


def taken_in(fleet: Simulation, *reports: tuple[int, Report]) -> list[str]:
    """Take them in; the statements that that took."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(fleet.store.engine, "before_cursor_execute", note)
    with fleet.store.write() as connection:
        commit_reports(connection, 77, reports)
    event.remove(fleet.store.engine, "before_cursor_execute", note)
    return statements


def state(fleet: Simulation, device: int) -> Any:
    with fleet.store.read() as connection:
        asked = select(t.device_state).where(t.device_state.c.device_seq == device)
        return connection.execute(asked).one()


def test_the_last_new_report_of_a_device_is_what_is_kept(fleet: Simulation) -> None:
    taken_in(
        fleet,
        (1, report(1, facts={"kernel": "1"})),
        (2, report(4)),
        (1, report(2, facts={"kernel": "2"})),
        (1, report(2, facts={"kernel": "a repeat"})),
        (1, report(1, facts={"kernel": "an old one"})),
    )
    kept = state(fleet, 1)
    assert (kept.journal, kept.report_seq, kept.last_seen) == ("j", 2, 77)
    assert kept.facts == {"kernel": "2"}
    assert state(fleet, 2).report_seq == 4


def test_a_new_journal_begins_with_any_number(fleet: Simulation) -> None:
    taken_in(fleet, (1, report(9)), (1, report(1, "new")), (1, report(2, "new")))
    assert (state(fleet, 1).journal, state(fleet, 1).report_seq) == ("new", 2)


def test_a_report_without_facts_leaves_those_before(fleet: Simulation) -> None:
    taken_in(fleet, (1, report(1, facts={"kernel": "1"})))
    taken_in(fleet, (1, report(2)))
    assert state(fleet, 1).facts == {"kernel": "1"}


def test_a_refusal_stands_until_a_newer_document_was_accepted(fleet: Simulation) -> None:
    taken_in(fleet, (1, report(1, rejected="expired", last_sequence=5)))
    taken_in(fleet, (1, report(2, last_sequence=5)))
    assert state(fleet, 1).rejected == "expired"
    taken_in(fleet, (1, report(3, last_sequence=6)))
    assert state(fleet, 1).rejected == ""


def test_reports_that_tell_nothing_new_cost_no_statement_of_their_own(fleet: Simulation) -> None:
    facts = {"timeZone": "UTC"}
    taken_in(fleet, *((device, report(1, facts=facts)) for device in range(1, 41)))
    one = taken_in(fleet, (1, report(2, facts=facts)))
    many = taken_in(fleet, *((device, report(3, facts=facts)) for device in range(1, 41)))
    assert len(one) == len(many)


def test_who_devices_are_is_asked_only_where_one_tells_something_new(fleet: Simulation) -> None:
    def asked(number: int, **told: Any) -> int:
        statements = taken_in(fleet, *((seq, report(number, **told)) for seq in range(1, 41)))
        return sum("edge_devices.slug" in each for each in statements)

    runs = {"app": Installed("0.1.0", "ee" * 32)}
    assert asked(1, facts={"timeZone": "Asia/Tokyo"}, versions=runs) == 1
    assert asked(2, facts={"timeZone": "Asia/Tokyo"}, versions=runs) == 0
    assert asked(3, rejected="expired") == 1


def time_zone(fleet: Simulation, device: int) -> Any:
    with fleet.store.read() as connection:
        asked = select(t.edge_devices.c.time_zone).where(t.edge_devices.c.seq == device)
        return connection.execute(asked).scalar_one()


def test_the_zone_that_was_told_last_is_the_devices(fleet: Simulation) -> None:
    told = ("Asia/Tokyo", "UTC", "Asia/Tokyo", "Mars/Olympus", 7, "Asia/Tokyo", "Europe/Rome")
    known = ["Asia/Tokyo", "UTC", "Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo", *told[-2:]]
    for number, (zone, after) in enumerate(zip(told, known, strict=True), 1):
        taken_in(fleet, (1, report(number, facts={"timeZone": zone})))
        assert time_zone(fleet, 1) == after


def test_a_device_that_comes_again_tells_its_zone_again(fleet: Simulation) -> None:
    taken_in(fleet, (1, report(1, facts={"timeZone": "Asia/Tokyo"})))
    with fleet.store.write() as connection:
        leaving.purge(connection, ORGANIZATION, "till-1", fleet.now)
    assert time_zone(fleet, 1) is None
    taken_in(fleet, (1, report(2, facts={"timeZone": "Asia/Tokyo"})))
    assert time_zone(fleet, 1) == "Asia/Tokyo"


def test_only_news_wakes_a_pass(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    woken: list[bool] = []
    fleet.store.hear(lambda told: woken.append(told.is_work))
    runs: dict[str, Any] = {"versions": {"app": Installed("0.1.0", "ee" * 32)}}
    reports: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        (runs, True),
        (runs, False),
        ({"facts": {"kernel": "2"}}, False),
        ({"rejected": "expired"}, True),
    ]
    for number, (changes, is_news) in enumerate(reports, 1):
        woken.clear()
        taken_in(fleet, (1, report(number, **changes)))
        assert any(woken) is is_news, changes


def test_a_deployment_is_marked_once_and_again_after_it_was_taken(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        for _ in range(2):
            dirt.mark(connection, "acme", "app")
            dirt.mark(connection, "acme", "app")
            assert dirt.take(connection, "acme") == ["app"]
        assert dirt.take(connection, "acme") == []


def test_what_was_told_before_there_was_a_place_for_it_is_known(fleet: Simulation) -> None:
    taken_in(fleet, (2, report(1, facts={"timeZone": "Asia/Tokyo"})))
    with fleet.store.engine.connect() as connection:
        connection.execute(text("ALTER TABLE device_state DROP COLUMN told_zone"))
        connection.execute(text("DROP INDEX ix_edge_devices_words_of_git"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0021'"))
        connection.commit()
    migrate.upgrade(fleet.store.engine, None)
    assert [state(fleet, device).told_zone for device in (1, 2, 3)] == [None, "Asia/Tokyo", None]
