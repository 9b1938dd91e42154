"""Policies: which one holds where, and what they forbid."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.texts import CHECKSUM, load_one, manifest
from towline.manifests.model_policy import Approvals, MinSoak, Policy
from towline.manifests.policy import (
    approvals_needed,
    first_batch_limit,
    over_devices,
    policy_for,
    repository_policy,
    soak_floor,
    violations,
    violations_in_place,
)
from towline.manifests.policy_values import strictest

_DAY = 86400


def _named(*policies: Policy) -> dict[str, Policy]:
    return {policy.name: policy for policy in policies}


@pytest.mark.parametrize(
    ("file", "holding"),
    [
        ("pos.yaml", "root"),
        ("teams/pos.yaml", "root"),
        ("teams/a/pos.yaml", "a"),
        ("teams/a/x/pos.yaml", "a"),
        ("teams/ab/pos.yaml", "root"),
    ],
)
def test_a_policy_holds_in_its_folder_and_below(file: str, holding: str) -> None:
    policies = _named(
        Policy("root", "policy.yaml", max_devices=10), Policy("a", "teams/a/p.yaml", max_devices=5)
    )
    found = policy_for(policies, file)
    assert (found.name, found.max_devices) == (holding, 5 if holding == "a" else 10)


def test_without_a_policy_the_defaults_hold() -> None:
    assert policy_for({}, "a.yaml") == Policy()
    assert policy_for(_named(Policy("x", "x/p.yaml", max_devices=1)), "a.yaml") == Policy()


def test_what_is_about_the_repository_is_said_by_policies_in_no_folder() -> None:
    policies = _named(
        Policy("root", "p.yaml", max_removed=30), Policy("x", "x/p.yaml", max_removed=1)
    )
    assert repository_policy(policies).max_removed == 30
    assert repository_policy({}) == Policy()


def test_of_several_policies_each_key_is_the_strictest() -> None:
    one = Policy(
        "one",
        "p.yaml",
        package_hosts=("a", "b"),
        max_devices=10,
        min_soak=(MinSoak((), 5),),
        allow_strategies=("canary",),
        max_removed=60,
        api_commits="direct",
        approvals=(Approvals(5, 1),),
        stale_git_alert_s=5,
    )
    two = Policy(
        "two",
        "x/p.yaml",
        package_hosts=("b", "c"),
        max_share_first_batch=20,
        min_soak=(MinSoak((), 9), MinSoak((), 5)),
        max_removed=70,
        stale_plan=3,
        approvals=(Approvals(9, 2),),
        stale_git_hold_s=7,
    )
    assert strictest([one, two]) == Policy(
        name="two",
        file="x/p.yaml",
        package_hosts=("b",),
        max_devices=10,
        max_share_first_batch=20,
        min_soak=(MinSoak((), 5), MinSoak((), 9)),
        allow_strategies=("canary",),
        max_removed=60,
        stale_plan=3,
        api_commits="branch",
        approvals=(Approvals(5, 1), Approvals(9, 2)),
        stale_git_alert_s=5,
        stale_git_hold_s=7,
    )


_POLICIES = st.builds(
    Policy,
    package_hosts=st.sets(st.sampled_from("abc"), max_size=2).map(sorted).map(tuple),
    max_devices=st.none() | st.integers(1, 9),
    max_share_first_batch=st.none() | st.integers(1, 100),
    allow_strategies=st.sets(
        st.sampled_from(["manual", "immediate", "canary", "rolling"]), max_size=3
    )
    .map(sorted)
    .map(tuple),
    min_soak=st.lists(st.builds(MinSoak, st.just(()), st.integers(1, 9)), max_size=2).map(tuple),
)
_SPECS = st.sampled_from(
    [
        ["strategy: immediate", "maxDevices: 5"],
        ["strategy: {type: canary, percentage: 3}"],
        ["strategy: rolling", "soak: 4s", "maxDevices: 2"],
        ["strategy: manual", "filters: {devices: [x]}"],
    ]
)


@given(st.lists(_POLICIES, min_size=1, max_size=3), _SPECS, st.sampled_from("abc"))
def test_the_strictest_forbids_exactly_what_any_of_them_forbids(
    policies: list[Policy], spec: list[str], host: str
) -> None:
    package = f"  package: {{url: 'https://{host}/p.tar', checksum: '{CHECKSUM}'}}\n"
    deployment = load_one(manifest(*spec, package=package))
    together = bool(violations(deployment, strictest(policies)))
    assert together is any(violations(deployment, each) for each in policies)


def _broken(policy: Policy, *lines: str, **style: Any) -> list[str]:
    return list(violations(load_one(manifest(*lines, **style)), policy))


def _at(*urls: str) -> str:
    listed = ", ".join(f"'{url}'" for url in urls)
    return f"  package: {{urls: [{listed}], checksum: '{CHECKSUM}'}}\n"


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/p.tar",
        "https://CDN.example.com:8443/p.tar",
        "p.tar",
        "cdn.evil.example/p.tar",
    ],
)
def test_packages_come_from_allowed_hosts_or_the_server(url: str) -> None:
    policy = Policy("fleet", package_hosts=("cdn.example.com",))
    assert _broken(policy, package=_at(url)) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/p.tar",
        "https://cdn.example.com.evil.example/p.tar",
        "https://evil.example/cdn.example.com/p.tar",
    ],
)
def test_every_address_of_a_package_is_looked_at(url: str) -> None:
    policy = Policy("fleet", package_hosts=("cdn.example.com",))
    (sentence,) = _broken(policy, package=_at("p.tar", url))
    assert sentence.startswith("the package comes from ")
    assert sentence.endswith("and Policy fleet allows cdn.example.com")
    assert _broken(Policy(), package=_at("p.tar", url)) == []


def test_policies_that_share_no_host_leave_the_server_alone() -> None:
    policy = strictest([Policy(package_hosts=("a.b",)), Policy(package_hosts=("c.d",))])
    assert _broken(policy, package=_at("https://a.b/p.tar")) != []
    assert _broken(policy, package=_at("p.tar")) == []


def test_an_arm_brings_a_package_of_its_own() -> None:
    policy = Policy("fleet", package_hosts=("a.b",))
    arm = f"package: {{url: 'https://c.d/x.tar', checksum: 'sha256:{'1d' * 32}'}}"
    line = f"experiment: {{arms: [{{name: a, weight: 50}}, {{name: b, weight: 50, {arm}}}]}}"
    (found,) = violations_in_place(load_one(manifest(line)), policy)
    assert found.location[:4] == ("spec", "experiment", "arms", 1)
    assert "comes from c.d" in found.message
    both = violations_in_place(load_one(manifest(line, package=_at("https://e.f/p.tar"))), policy)
    assert [found.location[1] for found in both] == ["package", "experiment"]


@pytest.mark.parametrize(
    ("strategy", "is_allowed"),
    [("canary", True), ("{type: rolling, batchSize: 10%}", True), ("immediate", False)],
)
def test_strategies_may_be_limited(strategy: str, is_allowed: bool) -> None:
    policy = Policy("fleet", allow_strategies=("canary", "rolling"))
    found = _broken(policy, f"strategy: {strategy}")
    expected = ["strategy immediate, and Policy fleet allows canary, rolling"]
    assert found == ([] if is_allowed else expected)


@pytest.mark.parametrize(
    ("strategy", "share"),
    [
        ("{type: canary, percentage: 20}", None),
        ("{type: canary, percentage: 21}", 21),
        ("{type: rolling, batchSize: 25%}", 25),
        ("{type: batches, batches: [{name: a, size: 30%}]}", 30),
        ("{type: batches, batches: [{name: a, size: 90%, filters: {labels: {a: b}}}]}", None),
        ("immediate", 100),
        ("manual\n  filters: {devices: [a]}", None),
    ],
)
def test_the_first_batch_may_be_limited(strategy: str, share: int | None) -> None:
    found = _broken(Policy("fleet", max_share_first_batch=20), f"strategy: {strategy}")
    expected = [f"the first batch takes {share}%, and Policy fleet allows 20%"]
    assert found == ([] if share is None else expected)


def test_the_first_batch_has_room_for_one_device_at_least() -> None:
    policy = Policy(max_share_first_batch=20)
    assert [first_batch_limit(policy, targets) for targets in (1, 5, 6, 100)] == [1, 1, 2, 20]
    assert first_batch_limit(Policy(), 100) is None


_HOSPITAL = MinSoak((("site", "hospital"),), _DAY)


@pytest.mark.parametrize(
    ("lines", "batch"),
    [
        (["filters: {labels: {site: hospital}}", "soak: 1d"], None),
        (["filters: {labels: {site: shop}}"], None),
        (["filters: {labels: {site: [shop, hospital]}}", "soak: 23h"], "canary"),
        (["filters: {expressions: [{key: site, operator: In, values: [hospital]}]}"], "canary"),
        (["filters: {expressions: [{key: site, operator: NotIn, values: [hospital]}]}"], None),
        (
            [
                "strategy: {type: batches, batches: [{name: a, size: 5%, soak: 2d},"
                " {name: b, size: 9%, filters: {labels: {site: hospital}}}]}"
            ],
            "b",
        ),
        (["filters: {labels: {site: hospital}, devices: [x]}", "strategy: manual"], None),
    ],
)
def test_devices_that_a_filter_names_get_their_soak(lines: list[str], batch: str | None) -> None:
    found = _broken(Policy("fleet", min_soak=(_HOSPITAL,)), *lines)
    if batch is None:
        assert found == []
    else:
        (sentence,) = found
        assert sentence.startswith(f"batch {batch} soaks")
        assert sentence.endswith("and Policy fleet wants 1d")


def test_without_batches_there_is_no_soak() -> None:
    (sentence,) = _broken(Policy("fleet", min_soak=(MinSoak((), 60),)), "strategy: immediate")
    assert sentence == "one batch takes all devices without a soak, and Policy fleet wants 1m"


def test_a_soak_for_all_counts_whatever_the_filters() -> None:
    policy = Policy(min_soak=(MinSoak((), 60),))
    assert len(_broken(policy, "strategy: rolling")) == 1
    assert _broken(policy, "strategy: rolling", "soak: 60s") == []


def test_the_least_soak_is_the_longest_of_those_who_take_part() -> None:
    policy = Policy(min_soak=(_HOSPITAL, MinSoak((("site", "shop"), ("big", "yes")), 60)))
    assert soak_floor(policy, []) == 0
    assert soak_floor(policy, [{"site": "office"}, {"big": "yes"}]) == 60
    assert soak_floor(policy, [{"site": "shop"}, {"site": "hospital"}]) == _DAY
    assert soak_floor(Policy(min_soak=(MinSoak((), 7),)), []) == 7


@pytest.mark.parametrize(
    ("line", "limit", "targets", "said"),
    [
        ("maxDevices: 5", 10, 5, ""),
        ("maxDevices: 5", 10, 6, "6 devices, and the manifest allows 5"),
        ("maxDevices: 5", 10, 11, "11 devices, and the manifest allows 5"),
        ("paused: false", 10, 10, ""),
        ("paused: false", 10, 11, "11 devices, and Policy fleet allows 10"),
        ("maxDevices: 5", None, 6, "6 devices, and the manifest allows 5"),
        ("paused: false", None, 10**6, ""),
    ],
)
def test_more_devices_than_allowed_is_said(
    line: str, limit: int | None, targets: int, said: str
) -> None:
    policy = Policy("fleet", max_devices=limit)
    assert over_devices(load_one(manifest(line)), policy, targets) == said


def test_a_manifest_cannot_allow_more_than_its_policy() -> None:
    policy = Policy("fleet", max_devices=10)
    assert _broken(policy, "maxDevices: 10") == []
    assert _broken(policy, "maxDevices: 11") == ["maxDevices is 11, and Policy fleet allows 10"]


def test_approvals_grow_with_the_number_of_devices() -> None:
    policy = Policy(approvals=(Approvals(1000, 2), Approvals(10, 1)))
    assert [approvals_needed(policy, n) for n in (10, 11, 1000, 1001)] == [0, 1, 1, 2]
    assert approvals_needed(Policy(), 10**6) == 0
