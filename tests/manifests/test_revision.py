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
_QUESTION = {"name": "a", "http": {"url": "http://p/q", "value": "a.0"}, "pass": "< 1"}
_BATCHES = [
    {"name": "a", "size": "5%", "soak": "1h", "approval": "manual"},
    {"name": "b", "size": "50%", "filters": {"labels": {"a": "b"}}, "successThreshold": "80%"},
]
_TUNING = st.fixed_dictionaries(
    {},
    optional={
        "releaseNotes": st.text("abcäöü\n", min_size=1),
        "filters": st.sampled_from([{}, {"labels": {"a": "b"}}, {"devices": ["pi-1"]}]),
        "strategy": st.sampled_from(
            [
                "canary",
                "rolling",
                {"type": "canary", "percentage": 3},
                {"type": "batches", "batches": _BATCHES},
            ]
        ),
        "maxDevices": st.integers(1, 5000),
        "order": st.sampled_from(["salted", "name"]),
        "soak": st.sampled_from(["0s", "4h"]),
        "successThreshold": st.integers(1, 100).map("{}%".format),
        "onFailure": st.sampled_from(["pause", "abort", "rollback"]),
        "safeMode": st.booleans(),
        "deviceTimeout": st.sampled_from(["1h", "5m"]),
        "progressDeadline": st.sampled_from(["1h", "48h", "5d"]),
        "maxConcurrent": st.integers(1, 5000),
        "disruptionBudget": st.sampled_from([1, 7, "10%"]).map(
            lambda most: {"groupBy": "store", "maxUnavailable": most}
        ),
        "offline": st.just({"after": "2h"}),
        "windows": st.sampled_from(
            [
                [],
                [{"allow": {"days": "Mon-Fri", "start": "01:00", "length": "4h"}}],
                [{"deny": {"from": "2026-12-20", "to": "2027-01-02"}, "timeZone": "UTC"}],
            ]
        ),
        "start": st.sampled_from(["manual", "automatic", "2026-12-01T06:00:00Z"]),
        "paused": st.booleans(),
        "selfHeal": st.booleans(),
        "analysis": st.sampled_from([[], [_QUESTION], [{**_QUESTION, "count": 7}]]),
        "rollback": st.just({"automatic": True}),
        "hooks": st.just({}),
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


def _package(file: str, byte: str = "1d", **conditions: Any) -> dict[str, Any]:
    return {"url": file, "checksum": "sha256:" + byte * 32, **conditions}


def _experiment(weight: int, **second: Any) -> dict[str, Any]:
    arms = [{"name": "a", "weight": 100 - weight}, {"name": "b", "weight": weight, **second}]
    return {"experiment": {"arms": arms}}


_CHOICES: dict[str, list[dict[str, Any]]] = {
    "component": [{}, {"component": "pos"}, {"component": "net"}],
    "targetVersion": [{"targetVersion": "2.4.1"}, {"targetVersion": "v2.4.1"}],
    "requires": [{}, {"requires": ">=2.0"}, {"requires": ">2.0"}],
    "allowDowngrade": [{}, {"allowDowngrade": True}],
    "packages": [
        {"package": _package("pos.tar")},
        {"package": _package("other.tar")},
        {"package": _package("pos.tar", "2d")},
        {"package": _package("pos.tar", deviceTypes=["rpi"])},
        {"package": _package("pos.tar", labels={"rpi": "rpi"})},
        {"packages": [_package("pos.tar", deviceTypes=["rpi"]), _package("x.tar")]},
        {"packages": [_package("x.tar", labels={"a": ["b", "c"]}), _package("pos.tar")]},
    ],
    "install": [{}, {"install": {"timeout": "5m"}}],
    "health": [
        {},
        {"health": [{"name": "a", "tcp": {"port": 80}}]},
        {"health": [{"name": "a", "tcp": {"port": 80}, "successes": 2}]},
        {"health": [{"name": "a", "script": "a.sh"}, {"name": "b", "script": "a.sh"}]},
        {"health": [{"name": "b", "script": "a.sh"}, {"name": "a", "script": "a.sh"}]},
    ],
    "rollback": [{}, {"rollback": {"automatic": False}}],
    "experiment": [
        {},
        _experiment(50, targetVersion="9"),
        _experiment(40, targetVersion="9"),
        _experiment(40, targetVersion="9", package=_package("arm.tar", "3d")),
        _experiment(40, package=_package("arm.tar", "3d")),
    ],
}
"""Of each key that makes the revision, forms of which no two deliver the same."""
_PICKS = st.fixed_dictionaries(
    {key: st.integers(0, len(forms) - 1) for key, forms in _CHOICES.items()}
)


def _what(picks: dict[str, int]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    for key, at in picks.items():
        spec |= _CHOICES[key][at]
    return spec


@pytest.mark.parametrize("key", list(_CHOICES))
def test_every_form_of_a_key_of_what_is_delivered_makes_a_revision(key: str) -> None:
    plain = dict.fromkeys(_CHOICES, 0)
    ids = {_revision(_what({**plain, key: at})) for at in range(len(_CHOICES[key]))}
    assert len(ids) == len(_CHOICES[key])


@given(_PICKS, st.sampled_from(list(_CHOICES)), st.integers(1, 6))
def test_an_edit_of_what_is_delivered_always_makes_a_revision(
    picks: dict[str, int], key: str, step: int
) -> None:
    forms = len(_CHOICES[key])
    edited = {**picks, key: (picks[key] + 1 + step % (forms - 1)) % forms}
    assert edited != picks
    assert _revision(_what(edited)) != _revision(_what(picks))


@given(_PICKS, _TUNING, _TUNING)
def test_an_edit_of_tuning_never_makes_a_revision(
    picks: dict[str, int], before: dict[str, Any], after: dict[str, Any]
) -> None:
    what = _what(picks)
    assert _revision({**before, **what}) == _revision({**after, **what})


@given(_PICKS, _PICKS)
def test_revisions_are_equal_exactly_when_they_deliver_the_same(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert (_revision(_what(one)) == _revision(_what(other))) is (one == other)
