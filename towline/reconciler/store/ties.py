"""What ties a statement to one organization, found in the statement itself.

A row is an organization's when one of its keys says so: the organization's name, or the number of a
run or a device of it. A statement is tied when each table that has such a key is held by one to a
value, or to another table that is tied; whoever carries it out sees to it that the values are the
organization's own. What has no such key (label sets, versions, filters) is the same for everybody.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    CompoundSelect,
    Delete,
    FromClause,
    Insert,
    Select,
    Table,
    Update,
)
from sqlalchemy.sql.elements import Grouping, Label
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import (
    CTE,
    ScalarSelect,
    SelectBase,
    SelectStatementGrouping,
    Subquery,
)

from towline.reconciler.store.conditions import (
    Condition,
    all_of,
    equations,
    given,
    inner_selects,
    parts,
    table_of,
)

OF_ALL: dict[str, Any] = {"towline_of_all": True}
"""The options of a statement that is meant to look at the rows of every organization."""
_Tables = Set[FromClause]


class Key(StrEnum):
    """What a row's organization is known by."""

    ORGANIZATION = "organization"
    RUN = "runs"
    DEVICE = "edge_devices"


@dataclass(frozen=True, slots=True)
class Need:
    """A value that must be the organization's own, for the statement to be tied."""

    key: Key
    value: BindParameter[Any] | str
    """A parameter, or the name of one."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What a statement is tied by."""

    needs: tuple[Need, ...]
    loose: tuple[str, ...]
    """Tables that nothing ties."""


def ties_of(statement: Any) -> Ties:
    """Of a SELECT, INSERT, UPDATE or DELETE."""
    finder = _Finder()
    finder.look_at(statement, frozenset())
    return Ties(tuple(finder.needs), tuple(finder.loose))


def key_of(column: Any) -> Key | None:
    """Which key a column holds; in a derived table, by what it is made of."""
    if isinstance(column, Label | Grouping):
        return key_of(column.element)
    if isinstance(column, FunctionElement):
        is_one_of = column.name in ("max", "min")
        return key_of(next(iter(column.clauses))) if is_one_of else None
    bases = list(getattr(column, "base_columns", ()))
    if len(bases) != 1:
        return None
    (base,) = bases
    if not isinstance(base, Column):
        return key_of(base) if base is not column else None
    if base.name == Key.ORGANIZATION or str(base) == "organizations.name":
        return Key.ORGANIZATION
    named = {foreign.target_fullname for foreign in base.foreign_keys} | {str(base)}
    return next((key for key in (Key.RUN, Key.DEVICE) if f"{key}.seq" in named), None)


def has_key(table: FromClause) -> bool:
    """True when its rows are of an organization; a derived table is looked at by itself."""
    base = getattr(table, "element", table)
    return isinstance(base, Table) and any(key_of(column) for column in base.columns)


class _Finder:
    """Collects what one statement needs, and what in it is loose."""

    def __init__(self) -> None:
        self.needs: list[Need] = []
        self.loose: list[str] = []

    def look_at(self, statement: Any, around: _Tables, member: Any = None) -> None:
        """A whole statement; `around` are the tied tables of those that it stands in.

        `member`: what is only asked to be, or not to be, among its rows.
        """
        if isinstance(statement, SelectStatementGrouping | ScalarSelect):
            self.look_at(statement.element, around, member)
        elif isinstance(statement, CompoundSelect):
            for each in statement.selects:
                self.look_at(each, around, member)
        elif isinstance(statement, Select):
            tables, conditions = parts(statement)
            conditions += _membership(statement, member)
            self._look_at_parts(statement, tables, conditions, around)
        elif isinstance(statement, Update | Delete):
            tables = [statement.table, *getattr(statement, "_extra_froms", ())]
            conditions = [Condition(each) for each in all_of(statement.whereclause)]
            self._look_at_parts(statement, list(dict.fromkeys(tables)), conditions, around)
        elif isinstance(statement, Insert):
            self._look_at_insert(statement)
        else:
            self.loose.append(type(statement).__name__)

    def _look_at_insert(self, insert: Insert) -> None:
        if insert.select is not None:
            self.look_at(insert.select, frozenset())
            return
        keys = [(key_of(column), column) for column in insert.table.columns]
        found = [Need(key, column.key) for key, column in keys if key is not None]
        self.needs += found[:1]

    def _look_at_parts(
        self,
        statement: Any,
        tables: Sequence[FromClause],
        conditions: Sequence[Condition],
        around: _Tables,
    ) -> None:
        tied = self._tied(tables, conditions, around)
        self.loose += [getattr(table, "name", "?") for table in tables if table not in tied]
        for table in tables:
            if isinstance(table, Subquery | CTE):
                self.look_at(table.element, frozenset())
        for inner, member in inner_selects(statement, tables):
            if _of_others(inner) is None:
                self.look_at(inner, tied, member)

    def _tied(
        self, tables: Sequence[FromClause], conditions: Sequence[Condition], around: _Tables
    ) -> _Tables:
        """The tables that are tied; each may tie the next."""
        tied = {*around, *(table for table in tables if not has_key(table))}
        while True:
            left = [table for table in tables if table not in tied]
            found = [table for table in left if self._is_tied(table, conditions, tied)]
            if not found:
                return tied
            tied.update(found)

    def _is_tied(self, table: FromClause, conditions: Sequence[Condition], tied: _Tables) -> bool:
        for condition in conditions:
            if condition.only not in (None, table):
                continue
            for column, value, is_not in equations(condition):
                key = key_of(column) if table_of(column) is table else None
                if key is not None and self._ties(key, value, tied, is_not=is_not):
                    return True
        return False

    def _ties(self, key: Key, value: Any, tied: _Tables, *, is_not: bool) -> bool:
        """True when a value is of the organization, or is needed to be."""
        while isinstance(value, Grouping | SelectStatementGrouping | ScalarSelect):
            value = value.element
        if is_not:
            others = _of_others(value)
            self.needs += [Need(Key.ORGANIZATION, others)] if others is not None else []
            return others is not None
        parameter = given(value)
        if parameter is not None:
            self.needs.append(Need(key, parameter))
            return True
        if isinstance(value, SelectBase):
            return self._are_own(key, value, tied)
        return table_of(value) in tied and key_of(value) is key

    def _are_own(self, key: Key, select: SelectBase, tied: _Tables) -> bool:
        inner = _Finder()
        inner.look_at(select, tied)
        if inner.loose or [key_of(each) for each in select.selected_columns] != [key]:
            return False
        self.needs += inner.needs
        return True


def _membership(select: Select[Any], member: Any) -> Iterator[Condition]:
    """Of its rows only those matter whose key is the member's, where both are of one kind."""
    (column, *more) = select.selected_columns
    key = key_of(column)
    if member is not None and key is not None and not more and key_of(member) is key:
        yield Condition(column == member)


def _of_others(select: Any) -> BindParameter[Any] | None:
    """The organization, where the SELECT is of the keys of all the others."""
    while isinstance(select, Grouping | SelectStatementGrouping | ScalarSelect):
        select = select.element
    if not isinstance(select, Select):
        return None
    tables, conditions = parts(select)
    (column, *more) = select.selected_columns
    if len(tables) != 1 or len(conditions) != 1 or more or key_of(column) is None:
        return None
    unequal = conditions[0].unequal()
    if unequal is None or key_of(unequal[0]) is not Key.ORGANIZATION:
        return None
    return given(unequal[1])
