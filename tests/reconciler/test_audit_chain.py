"""The chain of acts: whatever is done to it shows, and acts from before there was one are in it."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tests.postgres import Databases
from tests.stores import open_fresh
from towline.reconciler.store import audit_rows, migrate, postgres, reading_audit, sqlite_file
from towline.reconciler.store.engine import open_store
from towline.schemas import audit_chain
from towline.schemas.problems import Refused

WORDS = st.text(max_size=5)
ACTS = st.lists(st.fixed_dictionaries({"person": WORDS, "detail": st.dictionaries(WORDS, WORDS)}))


def chained(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Acts as they are written, the newest first."""
    acts: list[dict[str, Any]] = []
    previous = audit_chain.BEGIN
    for number, content in enumerate(contents, start=1):
        act = {**content, "number": number, "previous": previous}
        previous = audit_chain.digest(act, "acme")
        acts.insert(0, {**act, "hash": previous, "id": number * 7})
    return acts


@given(ACTS, st.data())
def test_all_acts_from_some_point_on_are_a_chain(contents: Any, data: st.DataObject) -> None:
    acts = chained(contents)
    kept = data.draw(st.integers(0, len(acts)))
    assert audit_chain.check(acts[:kept], "acme") == kept


@given(ACTS.filter(len), st.data())
def test_a_change_or_a_gap_is_found(contents: Any, data: st.DataObject) -> None:
    acts = chained(contents)
    at = data.draw(st.integers(0, len(acts) - 1))
    key, value = data.draw(
        st.sampled_from([("person", "Eve!!!"), ("detail", {"x": 1}), ("previous", "1" * 64)])
    )
    changed = [*acts[:at], acts[at] | {key: value}, *acts[at + 1 :]]
    with pytest.raises(Refused, match="audit-chain"):
        audit_chain.check(changed, "acme")
    with pytest.raises(Refused, match="audit-chain"):
        audit_chain.check(acts, "beta")
    if 0 < at < len(acts) - 1:
        with pytest.raises(Refused, match="audit-chain"):
            audit_chain.check([*acts[:at], *acts[at + 1 :]], "acme")


@given(ACTS.filter(lambda contents: len(contents) > 1))
def test_one_that_was_cut_off_at_the_beginning_cannot_be_hidden(contents: Any) -> None:
    acts = chained(contents)[:-1]
    forged = acts[-1] | {"previous": audit_chain.BEGIN}
    forged |= {"hash": audit_chain.digest(forged, "acme")}
    with pytest.raises(Refused, match="audit-chain"):
        audit_chain.check([*acts[:-1], forged], "acme")


MIGRATION = "towline.reconciler.store.migrations.versions.0018_one_act_for_each_number"
OLD_ACT = """INSERT INTO audit (at, organization, person, token_id, role, action, object, detail,
result, request) VALUES (:at, :organization, 'Ada', 'x', 'admin', 'deployment.pause', '', :detail,
'done', '')"""


@pytest.mark.both_engines
def test_no_number_is_given_to_two_acts_and_two_that_have_it_are_told(
    engine: str, tmp_path: Path
) -> None:
    """Of a store from before that."""
    act = text(OLD_ACT), {"at": 1, "organization": "acme", "detail": "{}"}
    migration = importlib.import_module(MIGRATION)
    triggers = {
        "postgres": ["audit_keeps ON audit"],
        "sqlite": ["audit_keeps_numbers_on_insert", "audit_keeps_on_delete"],
    }
    store = open_fresh(tmp_path / "towline.db")
    with store.write() as connection:
        for trigger in triggers[engine]:
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("DROP INDEX ix_audit_organization_number"))
        connection.execute(*act)
        connection.execute(*act)
        with Operations.context(MigrationContext.configure(connection)):
            with pytest.raises(migration.ActsWithOneNumber, match=r"2 acts of acme .* number 0"):
                migration.upgrade()
            connection.execute(text("DELETE FROM audit WHERE id = 2"))
            migration.upgrade()
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(*act)


@pytest.mark.both_engines
def test_acts_from_before_are_in_the_chain(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    place: Path | str = tmp_path / "towline.db"
    if engine == "postgres":
        databases: Databases = request.getfixturevalue("databases")
        place = databases.empty()
    with _opened(place).begin() as connection:
        migrate.apply(connection, "0009")
        for at, organization in ((1, "acme"), (2, "beta"), (3, "acme")):
            detail = json.dumps({"reason": "hä", "n": 1.5})
            values = {"at": at, "organization": organization, "detail": detail}
            connection.execute(text(OLD_ACT), values)
    store = open_store(place)
    with store.read() as connection:
        for organization, count in (("acme", 2), ("beta", 1)):
            acts, _ = reading_audit.acts(connection, organization, reading_audit.AuditFilter(), 9)
            assert audit_chain.check(acts, organization) == count
            assert audit_rows.end(connection, organization) == (count, acts[0]["hash"])
        assert audit_rows.end(connection, "gamma") == (0, audit_chain.BEGIN)
    store.close()


def _opened(place: Path | str) -> Engine:
    if isinstance(place, Path):
        return sqlite_file.open_engine(place)
    return postgres.open_engine(place)
