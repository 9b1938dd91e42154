"""The store as one organization sees it: what is not tied to that organization is not carried out.

Every statement of its connections is looked at before it runs. So whoever forgets a filter, or asks
with another organization's key, gets an error and never a row.
"""

import copy
import json
import re
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event, select

from towline.reconciler.store.among import among
from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import edge_devices, runs
from towline.reconciler.store.ties import OF_ALL, Key, Need, Ties, ties_of

_OWN = "towline.own"
"""In a connection's info: the keys that were found to be the organization's in this transaction."""
_TABLES = {Key.RUN: runs, Key.DEVICE: edge_devices}
_known: WeakKeyDictionary[Any, Ties] = WeakKeyDictionary()
"""By compiled statement: SQLAlchemy keeps those that are carried out again."""


class OutOfBounds(Exception):
    """A statement would reach beyond the organization: an error in Towline, never of a person."""


def bound_to(store: Store, organization: str) -> Store:
    """The same store, for one organization alone."""
    twin = copy.copy(store)
    twin.engine = store.engine.execution_options()
    event.listen(twin.engine, "before_cursor_execute", _Guard(organization))
    return twin


class _Guard:
    """Looks at each statement of an organization's connections."""

    def __init__(self, organization: str) -> None:
        self._organization = organization

    def __call__(
        self,
        connection: Connection,
        cursor: Any,
        text: str,
        parameters: Any,
        context: Any,
        is_many: bool,
    ) -> None:
        if context.compiled is None:
            if not text.startswith("BEGIN"):
                raise OutOfBounds(f"text is not looked into: {text[:200]}")
            connection.info[_OWN] = set()
        elif not OF_ALL.keys() <= context.execution_options.keys():
            self._look_at(connection, context, text)

    def _look_at(self, connection: Connection, context: Any, text: str) -> None:
        ties = _known.get(context.compiled)
        if ties is None:
            ties = _known[context.compiled] = ties_of(context.compiled.statement)
        if ties.loose:
            raise OutOfBounds(f"nothing ties {', '.join(ties.loose)} in: {text[:2000]}")
        for need in ties.needs:
            values = {
                value
                for given in context.compiled_parameters
                for value in _values(context.compiled, need, given)
            }
            self._demand_own(connection, need.key, values, text)

    def _demand_own(self, connection: Connection, key: Key, values: set[Any], text: str) -> None:
        if key is Key.ORGANIZATION:
            foreign = values - {self._organization}
        else:
            own: set[tuple[Key, Any]] = connection.info[_OWN]
            unknown = {value for value in values if (key, value) not in own}
            foreign = self._foreign(connection, key, unknown) if unknown else set()
            own |= {(key, value) for value in unknown - foreign}
        if foreign:
            raise OutOfBounds(f"{key} {sorted(foreign)[:3]} is not {self._organization}'s: {text}")

    def _foreign(self, connection: Connection, key: Key, numbers: Iterable[int]) -> set[Any]:
        table = _TABLES[key]
        found = connection.execute(
            select(table.c.seq).where(
                among(connection, table.c.seq, numbers),
                table.c.organization != self._organization,
            ),
            execution_options=OF_ALL,
        )
        return set(found.scalars())


def _values(compiled: Any, need: Need, given: dict[str, Any]) -> list[Any]:
    name = need.value if isinstance(need.value, str) else compiled.bind_names[need.value]
    if name not in given:
        # The values of an IN have names of their own: `seq_1_1`, `seq_1_2`.
        numbered = re.compile(rf"{re.escape(name)}_\d+")
        return [value for each, value in given.items() if numbered.fullmatch(each)]
    value = given[name]
    if isinstance(value, str) and need.key is not Key.ORGANIZATION:
        value = json.loads(value)
    return list(value) if isinstance(value, list | tuple | set) else [value]
