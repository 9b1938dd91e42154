"""A Policy as it is written: every key arrives, and what cannot be meant is refused."""

import pytest

from tests.manifests.texts import load_texts
from towline.manifests.model_policy import Approvals, MinSoak, Policy


def test_every_key_of_a_policy_arrives() -> None:
    text = (
        "apiVersion: towline/v1\nkind: Policy\nmetadata: {name: fleet}\nspec:\n"
        "  packageHosts: [CDN.example.com, b.example]\n  maxDevices: 10000\n"
        "  maxShareFirstBatch: 20%\n"
        "  minSoak: [{labels: {site: hospital}, soak: 24h}, {soak: 5m}]\n"
        "  allowStrategies: [rolling, canary]\n  maxRemoved: 40%\n  stalePlan: 5%\n"
        "  apiCommits: direct\n  approvals: [{aboveDevices: 1000, count: 2}]\n"
        "  staleGit: {alertAfter: 1m, holdAfter: 2h}\n"
    )
    loaded = load_texts(a=text)
    assert loaded.errors == ()
    assert loaded.policies["fleet"] == Policy(
        name="fleet",
        file="a.yaml",
        package_hosts=("b.example", "cdn.example.com"),
        max_devices=10000,
        max_share_first_batch=20,
        min_soak=(MinSoak((("site", "hospital"),), 86400), MinSoak((), 300)),
        allow_strategies=("canary", "rolling"),
        max_removed=40,
        stale_plan=5,
        api_commits="direct",
        approvals=(Approvals(1000, 2),),
        stale_git_alert_s=60,
        stale_git_hold_s=7200,
    )


def test_an_empty_policy_is_one_of_defaults() -> None:
    text = "apiVersion: towline/v1\nkind: Policy\nmetadata: {name: fleet}\nspec: {}\n"
    assert load_texts(a=text).policies["fleet"] == Policy(name="fleet", file="a.yaml")


def _policy(spec: str) -> str:
    return f"apiVersion: towline/v1\nkind: Policy\nmetadata: {{name: x}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("spec", "path", "message", "remedy"),
    [
        ("{packageHosts: ['https://a/']}", "spec.packageHosts[0]", "is no host", "host alone"),
        ("{packageHosts: ['a:443']}", "spec.packageHosts[0]", "is no host", "without scheme"),
        ("{maxShareFirstBatch: 0%}", "spec.maxShareFirstBatch", "no share", "1% to 100%"),
        ("{allowStrategies: [canry]}", "spec.allowStrategies[0]", "not known", "write canary"),
        ("{minSoak: [{soak: 0s}]}", "spec.minSoak[0].soak", "zero", "at least 1s"),
        ("{approvals: [{aboveDevices: 5, count: 0}]}", "spec.approvals[0].count", "", "least 1"),
        ("{staleGit: {holdAfter: 5m}}", "spec.staleGit.holdAfter", "shorter than", "at least"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(
    spec: str, path: str, message: str, remedy: str
) -> None:
    loaded = load_texts(a=_policy(spec))
    (error,) = loaded.errors
    assert (error.place.line, error.path) == (4, path)
    assert message in error.message
    assert remedy in error.remedy
    assert loaded.holds_commit


def test_git_may_hold_as_soon_as_it_alerts() -> None:
    loaded = load_texts(a=_policy("{staleGit: {alertAfter: 5m, holdAfter: 5m}}"))
    assert loaded.errors == ()
