"""States are written out in statements, so that an index over some of them is seen to fit."""

import pytest
from sqlalchemy import ColumnElement, bindparam, select

from towline.reconciler.store import tables as t
from towline.schemas.states import ACTIVE_TARGETS, TargetState

OTHER = t.targets.alias("other")
BELOW = select(t.targets.c.status).subquery("below")
STATE = t.targets.c.status


@pytest.mark.parametrize(
    "condition",
    [
        STATE == TargetState.PENDING,
        STATE == "pending",
        STATE != "pending",
        STATE.in_(ACTIVE_TARGETS),
        STATE.not_in(["pending", "failed"]),
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
    compiled = (words == STATE).compile()
    assert list(compiled.params.values()) == [words]


def test_a_parameter_stays_one() -> None:
    assert (bindparam("given") == STATE).compile().params == {"given": None}
