"""Revision ids: pinned for ever, moved by what is delivered and by nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.texts import load_one, manifest

_VECTORS = json.loads((Path(__file__).parent / "revision_vectors.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: str(vector["about"]))
def test_todays_ids_hold_for_ever(vector: dict[str, str]) -> None:
    deployment = load_one(vector["manifest"])
    assert deployment.canonical == vector["canonical"]
    assert deployment.revision == vector["revision"]
    assert hashlib.sha256(vector["canonical"].encode()).hexdigest() == vector["revision"]


def test_the_vectors_differ_where_they_deliver_something_else() -> None:
    assert len(_VECTORS) >= 12
    by_group: dict[str, set[str]] = {}
    for vector in _VECTORS:
        by_group.setdefault(vector["delivers"], set()).add(vector["revision"])
    assert all(len(ids) == 1 for ids in by_group.values())
    assert len(set.union(*by_group.values())) == len(by_group)


_CHECKSUM = "sha256:" + "1d" * 32
_WHAT: dict[str, Any] = {
    "component": "pos",
    "targetVersion": "2.4.1",
    "requires": ">=2.0",
    "allowDowngrade": True,
    "package": {"url": "pos.tar.gz", "checksum": _CHECKSUM},
    "install": {"timeout": "5m"},
    "health": [{"name": "web", "http": {"port": 80, "path": "/up"}, "delay": "1s"}],
}
_TUNING = st.fixed_dictionaries(
    {},
    optional={
        "releaseNotes": st.text("abcäöü\n", min_size=1),
        "filters": st.sampled_from([{}, {"labels": {"a": "b"}}, {"devices": ["pi-1"]}]),
        "strategy": st.sampled_from(["immediate", "rolling", {"type": "canary", "percentage": 3}]),
        "order": st.sampled_from(["salted", "name"]),
        "soak": st.sampled_from(["0s", "4h"]),
        "successThreshold": st.integers(1, 100).map("{}%".format),
        "onFailure": st.sampled_from(["pause", "abort"]),
        "deviceTimeout": st.sampled_from(["1h", "5m"]),
        "maxConcurrent": st.integers(1, 5000),
        "offline": st.just({"after": "2h"}),
        "start": st.sampled_from(["manual", "automatic", "2026-12-01T06:00:00Z"]),
        "paused": st.booleans(),
        "safeMode": st.just(False),
        "rollback": st.just({"automatic": True}),
    },
)


def _revision(spec: dict[str, Any], **style: Any) -> str:
    document = {
        "apiVersion": "towline/v1",
        "kind": "Deployment",
        "metadata": {"name": "pos", "title": str(style), "labels": {"n": str(len(spec))}},
        "spec": spec,
    }
    return load_one(yaml.safe_dump(document, allow_unicode=True, **style)).revision


@given(_TUNING, st.randoms(use_true_random=False), st.sampled_from([True, False]))
def test_tuning_order_of_keys_and_style_change_nothing(
    tuning: dict[str, Any], random: Any, flow: bool
) -> None:
    items = [*_WHAT.items(), *tuning.items()]
    random.shuffle(items)
    style = random.choice(['"', "'", None])
    assert _revision(
        dict(items), sort_keys=False, default_flow_style=flow, default_style=None
    ) == _revision(_WHAT)
    quoted = manifest("soak: 1h").replace("soak: 1h", f"soak: {style or ''}1h{style or ''}")
    assert load_one(quoted).revision == load_one(manifest()).revision


@given(
    st.sampled_from(["https://a.example/", "https://b.example:8443/x/y/", "old/", ""]),
    st.booleans(),
)
def test_a_package_may_move(folder: str, is_listed: bool) -> None:
    url = f"{folder}pos.tar.gz"
    address = (
        {"urls": [url, "https://mirror.example/other-name.tgz"]} if is_listed else {"url": url}
    )
    moved = {**_WHAT, "package": {**address, "checksum": _CHECKSUM.replace("d", "D")}}
    assert _revision(moved) == _revision(_WHAT)
    queried = {
        **_WHAT,
        "package": {"url": "https://a.example/pos.tar.gz?v=1", "checksum": _CHECKSUM},
    }
    assert _revision(queried) == _revision(_WHAT)


_OTHER: dict[str, Any] = {
    "component": "system",
    "targetVersion": "2.4.2",
    "requires": ">=2.1",
    "allowDowngrade": False,
    "package": {"url": "other.tar.gz", "checksum": _CHECKSUM},
    "install": {"timeout": "6m"},
    "health": [{"name": "web", "http": {"port": 80, "path": "/up"}, "delay": "2s"}],
}


@pytest.mark.parametrize("key", list(_OTHER))
def test_every_key_of_what_is_delivered_makes_a_revision(key: str) -> None:
    assert _revision({**_WHAT, key: _OTHER[key]}) != _revision(_WHAT)


@given(st.sets(st.sampled_from(list(_OTHER))), st.sets(st.sampled_from(list(_OTHER))))
def test_revisions_are_equal_exactly_when_they_deliver_the_same(
    one: set[str], other: set[str]
) -> None:
    first = {key: (_OTHER if key in one else _WHAT)[key] for key in _WHAT}
    second = {key: (_OTHER if key in other else _WHAT)[key] for key in _WHAT}
    assert (_revision(first) == _revision(second)) is (first == second)
