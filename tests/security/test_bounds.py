"""Every field of what comes from outside has its kind and its bounds.

For each place in a document, a statement and a report: what is read at the bound, and what is
refused one step beyond it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from tests.schemas.documents import (
    GOOD_CHECK,
    RELEASE_KEY,
    bent,
    check,
    code_of,
    make_component,
    make_document,
    make_root,
    make_statement,
    payload_of,
)
from towline.schemas import envelope, reports, statement
from towline.schemas.reports import Attempt, Report
from towline.schemas.statement import STATEMENT_TYPE
from towline.schemas.states import TargetState

WEEK_S = 7 * 86_400
Case = tuple[str, Sequence[Any], Sequence[Any]]

OF_A_DOCUMENT: list[Case] = [
    ("rootVersion", [1], [0, -1, True, "1"]),
    ("pollAfter", [1, 86_400], [0, 86_401, 1.5]),
    ("components", [[]], [[5], [None], ["app"], {}]),
]
OF_A_COMPONENT: list[Case] = [
    ("action", ["prepare", "rollback", "keep"], ["remove", "", 5]),
    ("deployment", ["d" * 64], ["d" * 65]),
    ("commit", ["c" * 64], ["c" * 65]),
    ("attempt", [1], [0, -1, True]),
    ("install", [{"timeout": 1}, {"timeout": WEEK_S}], [{"timeout": 0}, {"timeout": WEEK_S + 1}]),
    ("deviceTimeout", [1, WEEK_S], [0, WEEK_S + 1]),
    ("timeZone", [None, "z" * 64], ["z" * 65]),
    ("rollback", [{}, {"automatic": False}], [{"automatic": 1}, {"automatic": "no"}, []]),
    ("health", [[]], [[5], ["web"], {}]),
]
OF_A_CHECK: list[Case] = [
    ("name", ["n" * 100], ["n" * 101, None]),
    ("delay", [0, WEEK_S], [-1, WEEK_S + 1]),
    ("period", [1, WEEK_S], [0, WEEK_S + 1]),
    ("successes", [1], [0]),
    ("timeout", [1], [0]),
    (
        "http",
        [
            {"port": 1, "path": "/", "status": 100},
            {"port": 65_535, "path": "/" * 1024, "status": 599},
        ],
        [
            {"port": 0, "path": "/", "status": 200},
            {"port": 65_536, "path": "/", "status": 200},
            {"port": 1, "path": "/" * 1025, "status": 200},
            {"port": 1, "path": "/", "status": 99},
        ],
    ),
]
OF_A_STATEMENT: list[Case] = [
    ("version", ["v" * 100], ["v" * 101]),
    ("format", ["f" * 80], ["f" * 81]),
    ("size", [1], [0, -1, "100"]),
]
OF_A_REPORT: list[Case] = [
    ("journal", ["j" * 64], ["j" * 65]),
    ("reportSeq", [1, 2**63 - 1], [0, -1, 2**63]),
    ("lastSequence", [0], [-1]),
    ("rejected", [None, "r" * 50], ["r" * 51]),
    ("state", ["failed", "pending"], ["skipped", "asleep", 5]),
    ("deployment", ["d" * 64], ["d" * 65]),
    ("attempt", [1, 2**31 - 1], [0, 2**31]),
    ("commit", ["c" * 64], ["c" * 65]),
    ("reason", [None, "r" * 50], ["r" * 51]),
    ("message", [None, "m" * 2000], ["m" * 2001]),
    ("progress", [None, 0, 2**31 - 1], [-1, 2**31]),
    (
        "versions",
        [{"app": {"version": "v" * 100, "sha256": "a" * 64}}],
        [{"app": {"version": "v" * 101, "sha256": "a" * 64}}, {"app": "1"}],
    ),
]


def _in_document(name: str, value: Any) -> object:
    return check(bent(**{name: value}))


def _in_component(name: str, value: Any) -> object:
    component = payload_of(make_document())["components"][0] | {name: value}
    return check(bent(components=[component]))


def _in_check(name: str, value: Any) -> object:
    return _in_component("health", [GOOD_CHECK | {name: value}])


def _in_statement(name: str, value: Any) -> object:
    document = make_statement().document()
    document["predicate"][name] = value
    return _verified(document)


def _verified(document: Mapping[str, Any]) -> object:
    """The statement alone, as the server and the command line verify it."""
    sealed = envelope.sign(STATEMENT_TYPE, json.dumps(document).encode(), RELEASE_KEY)
    return statement.verify(sealed, make_root().release)


REPORT = Report(
    "j", 1, 0, Attempt("app", "d", "c" * 64, 1, "e" * 40, TargetState.FAILED), versions={}
).document()


def _in_report(name: str, value: Any) -> object:
    return reports.parse_many(REPORT | {name: value})


TABLES: list[tuple[Callable[[str, Any], object], list[Case]]] = [
    (_in_document, OF_A_DOCUMENT),
    (_in_component, OF_A_COMPONENT),
    (_in_check, OF_A_CHECK),
    (_in_statement, OF_A_STATEMENT),
    (_in_report, OF_A_REPORT),
]


@pytest.mark.parametrize(
    ("put", "case"),
    [
        pytest.param(put, case, id=f"{put.__name__[1:]}-{case[0]}")
        for put, cases in TABLES
        for case in cases
    ],
)
def test_a_field_is_read_up_to_its_bound_and_refused_beyond(
    put: Callable[[str, Any], object], case: Case
) -> None:
    name, good, bad = case
    for value in good:
        assert put(name, value)
    for value in bad:
        assert code_of(partial(put, name, value)) in ("bad-field", "unsupported-health")


def test_versions_and_sizes_are_bounded_by_the_document_itself() -> None:
    """What the statement says is the same, so that nothing else refuses it."""
    for name, value in (("version", "v" * 101), ("size", 0)):
        assert code_of(partial(_in_component, name, value)) == "bad-field"
    long = make_statement(version="v" * 100)
    assert check(make_document(components=(make_component(long, version="v" * 100),)))


def test_a_nonce_is_bounded_whatever_was_asked_for() -> None:
    assert check(bent(nonce="n" * 64), nonce="n" * 64)
    assert code_of(lambda: check(bent(nonce="n" * 65), nonce="n" * 65)) == "bad-field"


def test_the_file_and_the_script_that_are_named_are_bounded() -> None:
    document = make_statement().document()
    document["subject"][0]["name"] = "n" * 255
    assert _verified(document)
    document["subject"][0]["name"] = "n" * 256
    assert code_of(lambda: _verified(document)) == "bad-field"
    plain = {name: value for name, value in GOOD_CHECK.items() if name != "http"}
    assert _in_component("health", [plain | {"script": "s" * 255}])
    too_long = [plain | {"script": "s" * 256}]
    assert code_of(lambda: _in_component("health", too_long)) == "bad-field"


def test_64_reports_come_at_once_and_each_is_an_object() -> None:
    assert len(reports.parse_many([REPORT] * 64)) == 64
    assert code_of(lambda: reports.parse_many([REPORT] * 65)) == "too-many-reports"
    for value in (5, None, "x", [[REPORT]]):
        assert code_of(partial(reports.parse_many, value)) == "bad-field"
