"""The strict reader of YAML: what it refuses, and where it says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.manifests.errors import Mark
from towline.manifests.yaml_strict import MAX_BYTES, MAX_DEPTH, Unreadable, read_documents
from towline.manifests.yaml_tree import Mapping, Plain, plain_value


def _faults(text: str) -> list[tuple[str, Mark]]:
    (document,) = read_documents(text.encode())
    return [(fault.message, fault.mark) for fault in document.faults]


@pytest.mark.parametrize(
    ("text", "message", "mark"),
    [
        ("a: 1\nb: 2\na: 3\n", "`a` stands here twice, first in line 1", Mark(3, 1)),
        ("a: {b: 1, b: 2}\n", "`b` stands here twice, first in line 1", Mark(1, 11)),
        ("a: &x 1\n", "an anchor is not allowed", Mark(1, 4)),
        ("a: &x [1]\n", "an anchor is not allowed", Mark(1, 4)),
        ("a: !!str 1\n", "a tag is not allowed", Mark(1, 4)),
        ("a: !own {}\n", "a tag is not allowed", Mark(1, 4)),
        ("a:\n  <<: {b: 1}\n", "a merge key is not allowed", Mark(2, 3)),
        ("1: a\n", "the number 1 is no key", Mark(1, 1)),
        ("on: a\n", "the truth value on is no key", Mark(1, 1)),
        ("? [a]\n: b\n", "a key must be text", Mark(1, 3)),
        ("? {a: b}\n: {c: d}\n", "a key must be text", Mark(1, 3)),
    ],
)
def test_refuses_with_the_position(text: str, message: str, mark: Mark) -> None:
    assert _faults(text) == [(message, mark)]


def test_refuses_an_alias_where_it_is_used() -> None:
    assert ("an alias is not allowed", Mark(2, 4)) in _faults("a: &x 1\nb: *x\n")


def test_keeps_the_first_of_two_equal_keys() -> None:
    (document,) = read_documents(b"a: 1\na: {b: [2]}\n")
    assert isinstance(document.root, Mapping)
    assert list(document.root.values) == ["a"]
    assert document.root.values["a"].mark == Mark(1, 4)


def test_faults_stay_with_their_document() -> None:
    first, second = read_documents(b"a: 1\na: 2\n---\nb: 1\n")
    assert len(first.faults) == 1
    assert second.faults == []


@pytest.mark.parametrize("opening", ["[", "[\n", "{a: ", "- ", "? "])
def test_refuses_depth_before_anything_recurses(opening: str) -> None:
    with pytest.raises(Unreadable, match="more than 64"):
        read_documents((opening * 100_000)[: MAX_BYTES - 10].encode())


def test_accepts_the_deepest_that_is_allowed() -> None:
    assert len(read_documents(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)) == 1
    with pytest.raises(Unreadable):
        read_documents(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_refuses_a_file_that_is_too_large() -> None:
    assert read_documents(b"#" * MAX_BYTES) == []
    with pytest.raises(Unreadable, match="larger than 256 KiB"):
        read_documents(b"#" * (MAX_BYTES + 1))


def test_says_where_a_file_is_not_utf_8() -> None:
    with pytest.raises(Unreadable, match="byte 0xff is not UTF-8") as refused:
        read_documents(b"a: 1\nb: \xff\n")
    assert refused.value.fault.mark == Mark(2, 4)


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("a: [1\n", 2, "brackets"),
        ("a: >=2.0\n", 1, "begins with >"),
        ("a:\n\t- b\n", 2, "never with tabs"),
        ("a: b: c\n", 1, "text with a colon"),
        ("a: \0\n", 1, "control characters"),
    ],
)
def test_says_where_a_file_is_not_yaml_and_what_to_do(text: str, line: int, remedy: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_documents(text.encode())
    assert refused.value.fault.mark.line == line
    assert remedy in refused.value.fault.remedy


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(line_end: str) -> None:
    (document,) = read_documents(f"a: 1{line_end}b: 2{line_end}".encode())
    assert isinstance(document.root, Mapping)
    assert document.root.keys == {"a": Mark(1, 1), "b": Mark(2, 1)}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("2.10", Plain("2.10", "float")),
        ("2.4.1", "2.4.1"),
        ("210", 210),
        ("-1", -1),
        ("010", Plain("010", "int")),
        ("1_000", Plain("1_000", "int")),
        ("01:00", "01:00"),
        ("1:30", Plain("1:30", "int")),
        ("9" * 30, Plain("9" * 30, "int")),
        ("no", False),
        ("True", True),
        ("~", None),
        ("", None),
        ("2026-12-20", Plain("2026-12-20", "timestamp")),
        ("canary", "canary"),
    ],
)
def test_plain_words_mean_what_yaml_says(word: str, value: object) -> None:
    assert plain_value(word) == value
    assert type(plain_value(word)) is type(value)


@given(
    st.binary(max_size=200)
    | st.text(alphabet="ab:-[]{}&*!|>'\"?#,% \n\t<=.0", max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_refused_with_a_position(data: bytes) -> None:
    try:
        documents = read_documents(data)
    except Unreadable as refused:
        assert refused.fault.mark.line >= 1
        assert refused.fault.remedy
    else:
        assert all(fault.remedy for document in documents for fault in document.faults)
