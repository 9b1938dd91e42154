"""A store bound to one organization: what it carries out, and what it refuses to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    BindParameter,
    Connection,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    union,
    update,
)

from tests import stores
from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.store import tables as t
from towline.reconciler.store.among import among
from towline.reconciler.store.bound import OutOfBounds, bound_to
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.engine import Store
from towline.reconciler.store.given import among_given
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.store.ties import OF_ALL, Key, ties_of
from towline.schemas.identifiers import device_uuid

OWN_RUN, OWN_DEVICE, THEIR_RUN, THEIR_DEVICE = 1, 1, 2, 3
Make = Callable[[Connection], Any]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The store of `filled`, on each engine; of all tests, as none of them leaves a change."""
    databases = request.getfixturevalue("databases") if request.param == "postgres" else None
    with stores.on(databases):
        yield filled(tmp_path_factory.mktemp("bound"))


def filled(folder: Path) -> Store:
    """Two devices and a run of acme, a device and a run of beta; bound to acme."""
    fleet = Simulation(folder, devices=2)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    with fleet.store.write() as connection:
        run = dict(connection.execute(select(t.runs)).one()._mapping)
        theirs = {"seq": THEIR_RUN, "id": device_uuid("beta", "run"), "organization": "beta"}
        connection.execute(insert(t.runs), run | theirs)
        connection.execute(insert(t.edge_devices), device(connection, "beta", THEIR_DEVICE))
        connection.execute(insert(t.device_state), {"device_seq": THEIR_DEVICE, "facts": {}})
    return bound_to(fleet.store, ORGANIZATION)


def device(connection: Connection, organization: str, seq: int) -> dict[str, Any]:
    """A device's row."""
    return {
        "seq": seq,
        "id": device_uuid(organization, f"pi-{seq}"),
        "slug": f"pi-{seq}",
        "organization": organization,
        "device_type": "generic",
        "label_set_id": intern_labels(connection, {}),
        "labels_git": {},
        "labels_people": {},
        "labels_join": {},
        "state": "active",
        "created_at": 0,
    }


devices, runs, targets = t.edge_devices.c, t.runs.c, t.targets.c
state, parts = t.device_state.c, t.device_components.c
own_runs = select(runs.seq).where(runs.organization == ORGANIZATION)
others = select(devices.seq).where(devices.organization != ORGANIZATION)
other = t.targets.alias("other")
newest = select(func.max(runs.seq)).where(runs.organization == ORGANIZATION)
counted = (
    select(targets.run_seq, func.count().label("n"))
    .where(targets.run_seq == OWN_RUN)
    .group_by(targets.run_seq)
    .subquery()
)

CARRIED_OUT: dict[str, Make] = {
    "by its organization": lambda _: select(t.runs).where(runs.organization == ORGANIZATION),
    "the value first": lambda _: select(t.runs).where(literal(ORGANIZATION) == runs.organization),
    "by a run of its own": lambda _: select(t.targets).where(targets.run_seq == OWN_RUN),
    "by runs of its own": lambda _: select(t.targets).where(targets.run_seq.in_([OWN_RUN])),
    "by no run": lambda _: select(t.targets).where(targets.run_seq.in_([])),
    "by a run that is gone": lambda _: select(t.targets).where(targets.run_seq == 999),
    "by many devices": lambda c: select(t.targets).where(among(c, targets.device_seq, [1, 2])),
    "by devices that come with it": lambda c: (
        select(t.targets)
        .where(among_given(c.dialect.name, targets.device_seq, "devices"))
        .params(devices={OWN_DEVICE})
    ),
    "by no index": lambda _: select(t.targets).where(unindexed(targets.run_seq) == OWN_RUN),
    "by runs that are asked for": lambda _: select(t.targets).where(targets.run_seq.in_(own_runs)),
    "by the newest run": lambda _: select(t.targets).where(
        targets.run_seq == newest.scalar_subquery()
    ),
    "by joins": lambda _: (
        select(devices.slug, state.last_seen, targets.status)
        .join(t.device_state, state.device_seq == devices.seq)
        .outerjoin(t.targets, targets.device_seq == devices.seq)
        .where(devices.organization == ORGANIZATION)
    ),
    "by a table that is derived": lambda _: select(t.runs, counted.c.n).join(
        counted, counted.c.run_seq == runs.seq
    ),
    "whether another one exists": lambda _: select(t.targets).where(
        targets.run_seq == OWN_RUN, ~exists().where(other.c.device_seq == targets.device_seq)
    ),
    "among those of a kind": lambda _: select(t.targets).where(
        targets.run_seq == OWN_RUN,
        targets.device_seq.in_(select(parts.device_seq).where(parts.component == "app")),
    ),
    "among nobody else's": lambda _: select(func.count()).where(parts.device_seq.not_in(others)),
    "what is the same for all": lambda _: select(t.label_sets),
    "what is meant to be of all": lambda _: select(func.max(devices.seq)).execution_options(
        **OF_ALL
    ),
    "a union": lambda _: union(own_runs, own_runs.where(runs.status == "pending")),
    "a change": lambda _: update(t.runs).where(runs.seq == OWN_RUN).values(message="x"),
    "a removal": lambda _: delete(t.holds).where(t.holds.c.organization == ORGANIZATION),
    "a new row": lambda _: insert(t.dirty_deployments).values(
        organization=ORGANIZATION, deployment="new"
    ),
}
REFUSED: dict[str, Make] = {
    "nothing": lambda _: select(t.runs),
    "only a count": lambda _: select(func.count()).select_from(t.edge_devices),
    "another organization": lambda _: select(t.runs).where(runs.organization == "beta"),
    "one of several": lambda _: select(t.runs).where(runs.organization.in_([ORGANIZATION, "beta"])),
    "a run of theirs": lambda _: select(t.targets).where(targets.run_seq == THEIR_RUN),
    "runs of theirs, too": lambda _: select(t.targets).where(
        targets.run_seq.in_([OWN_RUN, THEIR_RUN])
    ),
    "many devices of theirs": lambda c: select(t.device_state).where(
        among(c, state.device_seq, [OWN_DEVICE, THEIR_DEVICE])
    ),
    "devices of theirs that come with it": lambda c: (
        select(t.targets)
        .where(among_given(c.dialect.name, targets.device_seq, "devices"))
        .params(devices={OWN_DEVICE, THEIR_DEVICE})
    ),
    "a condition that need not hold": lambda _: select(t.runs).where(
        or_(runs.organization == ORGANIZATION, runs.status == "pending")
    ),
    "all but one's own": lambda _: select(t.runs).where(runs.organization != ORGANIZATION),
    "in the others": lambda _: select(func.count()).where(parts.device_seq.in_(others)),
    "a join on what is no key": lambda _: select(t.targets).join(
        t.runs, (runs.component == targets.component) & (runs.organization == ORGANIZATION)
    ),
    "the left side of an outer join": lambda _: select(devices.slug).outerjoin(
        t.runs, (runs.organization == devices.organization) & (devices.organization == ORGANIZATION)
    ),
    "a derived table of all": lambda _: select(select(runs.seq).subquery()),
    "itself": lambda _: select(t.runs).where(
        runs.seq.in_(select(targets.run_seq).where(targets.run_seq == runs.seq))
    ),
    "a loose scalar": lambda _: select(
        select(func.count()).select_from(t.events).scalar_subquery()
    ),
    "a loose half of a union": lambda _: union(own_runs, select(runs.seq)),
    "a change of all": lambda _: update(t.runs).values(message="x"),
    "a change of theirs": lambda _: update(t.runs).where(runs.seq == THEIR_RUN).values(message=""),
    "a removal of all": lambda _: delete(t.holds),
    "a new row of theirs": lambda _: insert(t.dirty_deployments).values(
        organization="beta", deployment="new"
    ),
    "a row for their device": lambda _: insert(t.dirty_devices).values(device_seq=THEIR_DEVICE),
    "text": lambda _: text("SELECT * FROM runs"),
}


def test_no_text_reaches_the_driver(store: Store) -> None:
    for words in ("SELECT 1", "DELETE FROM runs"):
        with pytest.raises(OutOfBounds, match="text is not looked into"), store.read() as reading:
            reading.exec_driver_sql(words)


@pytest.mark.parametrize("make", CARRIED_OUT.values(), ids=CARRIED_OUT)
def test_what_is_tied_to_the_organization_is_carried_out(store: Store, make: Make) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as connection:
        connection.execute(make(connection))
        raise ZeroDivisionError  # so that nothing is changed


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_reaches_beyond_it_is_refused(store: Store, make: Make) -> None:
    with pytest.raises(OutOfBounds), store.write() as connection:
        connection.execute(make(connection))


@pytest.mark.parametrize("of", ["sqlite", "postgresql"])
def test_numbers_that_come_with_a_statement_tie_it_whichever_engine_it_is_for(of: str) -> None:
    statement = select(t.targets).where(among_given(of, targets.device_seq, "devices"))
    ties = ties_of(statement)
    (need,) = ties.needs
    assert isinstance(need.value, BindParameter)
    assert (need.key, need.value.key, ties.loose) == (Key.DEVICE, "devices", ())


def test_the_same_statement_is_looked_at_with_each_value(store: Store) -> None:
    own, theirs = (
        select(t.batches).where(t.batches.c.run_seq == run) for run in (OWN_RUN, THEIR_RUN)
    )
    with store.read() as connection:
        for _ in range(2):
            connection.execute(own)
            with pytest.raises(OutOfBounds):
                connection.execute(theirs)


def test_many_rows_at_once_are_looked_at_one_by_one(store: Store) -> None:
    rows = [{"device_seq": seq} for seq in (OWN_DEVICE, THEIR_DEVICE)]
    with pytest.raises(OutOfBounds), store.write() as connection:
        connection.execute(insert(t.dirty_devices), rows)


def test_the_store_behind_is_as_free_as_before(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    bound = bound_to(fleet.store, "beta")
    with fleet.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.runs)).scalar_one() == 0
    with pytest.raises(OutOfBounds), bound.read() as connection:
        connection.execute(select(t.runs))
