"""A statement taken apart: its tables, what must hold, and what each condition says is equal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnClause, FromClause, Join, Select, TableValuedAlias
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BooleanClauseList,
    CollectionAggregate,
    Grouping,
)
from sqlalchemy.sql.selectable import ScalarSelect, SelectBase

from towline.reconciler.store.columns import NOTHING

_MEMBERSHIP = (operators.in_op, operators.not_in_op)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for each row."""

    clause: Any
    only: FromClause | None = None
    """The table of whose rows alone it says something: the right one of an outer join."""

    def unequal(self) -> tuple[Any, Any] | None:
        """The two that must differ; None for another condition."""
        clause = self.clause
        is_it = isinstance(clause, BinaryExpression) and clause.operator is operators.ne
        return (clause.left, clause.right) if is_it else None


def parts(select: Select[Any]) -> tuple[list[FromClause], list[Condition]]:
    """A SELECT's tables, joins taken apart, and all that must hold."""
    tables: list[FromClause] = []
    conditions = [Condition(each) for each in all_of(select.whereclause)]
    left = list(select.get_final_froms())
    while left:
        table = left.pop(0)
        if not isinstance(table, Join):
            tables.append(table)
            continue
        only = table.right if table.isouter else None
        conditions += [Condition(each, only) for each in all_of(table.onclause)]
        left = [table.left, table.right, *left]
    return tables, conditions


def all_of(clause: Any) -> Iterator[Any]:
    """The parts of a condition that must all hold."""
    if isinstance(clause, Grouping):
        yield from all_of(clause.element)
    elif isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for each in clause.clauses:
            yield from all_of(each)
    elif clause is not None:
        yield clause


def equations(condition: Condition) -> Iterator[tuple[Any, Any, bool]]:
    """A column, and what it is equal to or among; the last: it is not among them."""
    clause = condition.clause
    if not isinstance(clause, BinaryExpression):
        return
    if clause.operator in (operators.eq, *_MEMBERSHIP):
        yield _plain(clause.left), clause.right, clause.operator is operators.not_in_op
    if clause.operator is operators.eq:
        yield _plain(clause.right), clause.left, False


def given(value: Any) -> BindParameter[Any] | None:
    """The parameter that a value, or a list of them as `among` writes it, comes in."""
    if isinstance(value, BindParameter):
        return value
    if isinstance(value, CollectionAggregate | Grouping):
        return given(value.element)  # `ANY (…)`, with a grouping inside of it as of SQLAlchemy 2.1
    if not isinstance(value, Select) or value.whereclause is not None:
        return None
    (table, *more) = value.get_final_froms()
    if not isinstance(table, TableValuedAlias) or more:
        return None
    found = [each for each in visitors.iterate(table.element) if isinstance(each, BindParameter)]
    return found[0] if len(found) == 1 else None


def table_of(column: Any) -> FromClause | None:
    """The table that a column is of; None for what is no column."""
    found: FromClause | None = getattr(column, "table", None)
    return found


def inner_selects(statement: Any, tables: Sequence[FromClause]) -> Iterator[tuple[Any, Any]]:
    """The SELECTs that stand in its columns and conditions, and what is looked for in each."""
    skipped = {id(table) for table in tables}
    left = [(part, None) for part in statement.get_children() if id(part) not in skipped]
    while left:
        part, member = left.pop()
        if isinstance(part, SelectBase | ScalarSelect):
            yield part, member
        elif isinstance(part, BinaryExpression) and part.operator in _MEMBERSHIP:
            left += [(part.left, None), (part.right, _plain(part.left))]
        elif isinstance(part, Grouping):
            left.append((part.element, member))
        elif isinstance(part, Join) or not isinstance(part, FromClause):
            left += [(each, None) for each in part.get_children()]


def _plain(column: Any) -> Any:
    """The column that `unindexed` made something of."""
    while isinstance(column, Grouping):
        column = column.element
    if not isinstance(column, BinaryExpression) or not isinstance(column.right, ColumnClause):
        return column
    is_nothing = column.right.is_literal and column.right.name in _NOTHING
    return column.left if is_nothing else column


_NOTHING = {str(each) for each in NOTHING.values()}
