"""Two organizations with the same names: neither sees nor moves what the other has.

Every page and read is asked for before and after the other organization has the same things: not a
byte of the answer may be different. And nothing that is done to one changes a row of the other.
"""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import Connection, insert, select

from tests.server.changing import ACTS, call, prepare, waiting
from tests.server.conftest import NOW, AddRun, Device, Running, run_values, wall
from tests.server.described import application_at
from tests.server.visiting import Guest
from towline.reconciler.server.desk import Desk, Desks
from towline.reconciler.store import counters, enrolling, join_tokens, people
from towline.reconciler.store import tables as t
from towline.reconciler.store.audit import Deed, DeedStore
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.join_tokens import JoinTerms
from towline.reconciler.store.people import Person, Role
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.identifiers import organization_uuid
from towline.schemas.keys import PrivateKey

OTHER = "beta"
NAMES = {
    "fingerprint": "0000-0000-0000-0000",
    "deployment": "hello",
    "device": "pi-0001",
    "verb": "pause",
    "step": "basics",
}
NOT_ASKED = re.compile(r"stream|static|sign-in|openapi|metrics")
"""Streams do not end, metrics move with time (their own test holds them to one organization); the
rest is of no organization."""
_VOLATILE = re.compile(r'\d+ \w+ ago|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d|name="csrf" value="[^"]*"')


@pytest.fixture
def ours(server: Running, enrolled: Device, add_run: AddRun) -> Running:
    """What can be looked at and done in the one organization."""
    return prepare(server, enrolled, add_run)


def reads() -> list[str]:
    """The path of every GET."""
    desks = Desks(Store.__new__(Store), lambda _: Desk.__new__(Desk))
    return [
        str(route.path)
        for route in iter_route_contexts(application_at(desks).routes)
        if "GET" in (route.methods or ()) and not NOT_ASKED.search(str(route.path))
    ]


def answers(server: Running, guest: Guest) -> dict[str, tuple[int, str]]:
    """What each read says, times left out."""
    found = {}
    for path in reads():
        url = path.replace("{rest:path}", "nothing-here").format(**NAMES)
        asked = guest.client.get(url, headers=server.admin())
        found[path] = (asked.status_code, _VOLATILE.sub("", asked.text))
    return found


def found_other(server: Running) -> None:
    """The other organization gets the same things, one of each, and more."""
    with server.store.write() as connection:
        now = wall()
        organization = {"id": organization_uuid(OTHER), "name": OTHER, "created_at": now}
        connection.execute(insert(t.organizations), organization)
        place = {"organization": OTHER, "url": "theirs", "branch": "theirs", "path": ""}
        connection.execute(insert(t.repositories), place)
        run = run_values(server, "hello") | {"organization": OTHER, "target_count": 7}
        seq = connection.execute(insert(t.runs).returning(t.runs.c.seq), run).scalar_one()
        _their_device(connection, seq, now)
        _their_rows(connection, seq, now)
    person = Person("Mallory", OTHER, Role.ADMIN, "0" * 12, None)
    DeedStore(server.store, Deed(person, "deployment.pause", now, "hello", "pi-0001")).keep()


def _their_device(connection: Connection, run_seq: int, now: int) -> None:
    key = PrivateKey.generate()
    request = EnrolmentRequest(OTHER, "pi-0001", key.public, "raspberry_pi", "0.1.0")
    terms = JoinTerms({"site": "theirs"}, max_uses=2)
    token = join_tokens.create(connection, OTHER, terms, author="Mallory", now=now)
    asked = {"git": None, "join_token": token, "source": "x", "now": now}
    seq = enrolling.enrol(connection, request, **asked).device_seq  # type: ignore[union-attr,arg-type]
    version = {"component": "hello", "version": "6.6.6", "version_key": "6"}
    added = insert(t.component_versions).returning(t.component_versions.c.id)
    number = connection.execute(added, version).scalar_one()
    part = {"device_seq": seq, "component": "hello", "version_id": number, "sha256": "aa" * 32}
    connection.execute(insert(t.device_components), part)
    target = {"run_seq": run_seq, "device_seq": seq, "component": "hello", "batch": 1}
    state = {"status": "failed", "attempt": 1, "position": 0, "created_at": now, "reason": "Theirs"}
    connection.execute(insert(t.targets), target | state)


def _their_rows(connection: Connection, run_seq: int, now: int) -> None:
    whose = {"organization": OTHER, "deployment": "hello"}
    laid = {"reason": "PausedByUser", "author": "Mallory"}
    for table, values in (
        (t.holds, whose | laid | {"run_seq": run_seq, "message": "", "since": now}),
        (t.overrides, whose | laid | {"key": "approve", "value": {}, "created_at": now}),
        (t.merge_requests, waiting("later") | {"organization": OTHER}),
        (t.device_groups, {"organization": OTHER, "name": "theirs", "content": {}}),
    ):
        connection.execute(insert(table), values)
    counters.recount(connection, run_seq)
    record(connection, OTHER, now, Event("run.started", "hello", device="pi-0001", message="them"))
    people.create_admin_token(connection, OTHER, name="Mallory", role=Role.ADMIN, now=NOW)


def test_no_read_is_different_because_of_another_organization(ours: Running) -> None:
    guest = Guest(ours).sign_in("admin")
    answers(ours, guest)  # the first use of a token and of a cache shows in what comes after it
    before = answers(ours, guest)
    assert len(before) > 30
    assert sum(status == 200 for status, _ in before.values()) > 25, before
    found_other(ours)
    after = answers(ours, guest)
    for path, answer in before.items():
        assert after[path] == answer, path


def rows_of_other(store: Store) -> dict[str, Sequence[Any]]:
    """Every row that is theirs, or of their run or device."""
    with store.read() as connection:
        whose: dict[str, list[Any]] = {
            "organization": [OTHER],
            "run_seq": _numbers(connection, t.runs),
            "device_seq": _numbers(connection, t.edge_devices),
        }
        return {
            table.name: connection.execute(select(table).where(table.c[column].in_(values))).all()
            for table in t.metadata.sorted_tables
            for column, values in whose.items()
            if column in table.c
        }


def _numbers(connection: Connection, table: Any) -> list[int]:
    return list(
        connection.execute(select(table.c.seq).where(table.c.organization == OTHER)).scalars()
    )


def test_nothing_that_is_done_changes_a_row_of_another_organization(ours: Running) -> None:
    found_other(ours)
    before = rows_of_other(ours.store)
    assert sum(map(len, before.values())) > 12
    for act in ACTS:
        assert call(ours, act).status_code in (200, 201), act.path
    assert rows_of_other(ours.store) == before
