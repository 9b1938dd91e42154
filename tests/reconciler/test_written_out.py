"""States are written out in statements, so that an index over some of them is seen to fit."""

import pytest
from sqlalchemy import ColumnElement, bindparam, select

from towline.reconciler.store import tables as t
from towline.schemas.states import ACTIVE_TARGETS

OTHER = t.targets.alias("other")
BELOW = select(t.targets.c.status).subquery("below")
status = t.targets.c.status


@pytest.mark.parametrize(
    "condition",
    [
        status == "pending",
        status != "pending",
        status.in_(ACTIVE_TARGETS),
        status.not_in(["pending", "failed"]),
        OTHER.c.status == "pending",
        BELOW.c.status.in_(frozenset({"pending"})),
        t.edge_devices.c.state == "active",
    ],
    ids=str,
)
def test_no_parameter_is_left(condition: ColumnElement[bool]) -> None:
    compiled = condition.compile()
    assert not compiled.params
    assert "'" in str(compiled)


@pytest.mark.parametrize("words", ["", "x' OR '1' = '1", "a b", "%"])
def test_what_is_no_word_stays_a_parameter(words: str) -> None:
    compiled = (status == words).compile()
    assert list(compiled.params.values()) == [words]


def test_a_parameter_stays_one() -> None:
    assert (status == bindparam("given")).compile().params == {"given": None}
