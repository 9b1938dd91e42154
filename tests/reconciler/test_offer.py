"""Only a fitting statement of the release key makes an offer; fitness is judged by condition."""

from dataclasses import replace

import pytest

from tests.reconciler.simulation import RELEASE_KEY, ROOT, checksum, manifest, statement
from towline.manifests.load import load
from towline.manifests.model import Deployment
from towline.reconciler.fitness import Fit, fit
from towline.reconciler.offer import Offer, retuned
from towline.reconciler.statements import find_offer
from towline.reconciler.store.condition_keys import Condition
from towline.schemas.keys import PrivateKey
from towline.schemas.statement import Statement

PATH = "releases/app/2.0.0/app-2.0.0.tar.gz.json"


def deployment(more: str = "", version: str = "2.0.0") -> Deployment:
    loaded = load({"d.yaml": manifest(version, more).encode()})
    assert not loaded.errors
    return loaded.deployments["app"]


def problem(word: Statement, key: PrivateKey = RELEASE_KEY) -> str:
    return find_offer(deployment(), {PATH: word.sign(key).to_bytes()}, ROOT)[1]


def offer(**changes: object) -> Offer:
    word = replace(statement("2.0.0"), **changes)  # type: ignore[arg-type]
    found, why = find_offer(deployment(), {PATH: word.sign(RELEASE_KEY).to_bytes()}, ROOT)
    assert found is not None, why
    return found


def test_a_fitting_statement_makes_an_offer() -> None:
    found = offer()
    (release,) = found.releases
    assert (release.version, release.sha256, release.size) == ("2.0.0", checksum("2.0.0"), 10)
    assert Offer.parse(found.document(), "2.0.0") == found


def test_a_run_of_the_former_form_is_read_as_one_release() -> None:
    found = offer(rollback_index=3, device_types=("pi",))
    (release,) = found.releases
    former = {
        "urls": list(release.urls),
        "sha256": release.sha256,
        "size": release.size,
        "rollbackIndex": 3,
        "deviceTypes": ["pi"],
        "statement": release.statement,
        "installTimeout": found.install_timeout_s,
        "deviceTimeout": found.device_timeout_s,
        "health": [],
    }
    assert Offer.parse(former, "2.0.0") == found


def test_tuning_follows_the_manifest_and_the_release_stays() -> None:
    kept = offer()
    moved = deployment("  deviceTimeout: 2h\n")
    moved = replace(moved, packages=(replace(moved.packages[0], urls=("https://a/b",)),))
    tuned = retuned(kept, moved)
    assert (tuned.device_timeout_s, tuned.releases[0].urls) == (7200, ("https://a/b",))
    assert tuned.releases[0].sha256 == kept.releases[0].sha256
    assert Offer.parse(tuned.document(), "2.0.0") == tuned


def test_a_target_finds_its_own_release() -> None:
    (first,) = offer().releases
    other = replace(first, version="2.1.0", sha256="ab" * 32, arm="b")
    same = replace(first, arm="b")
    both = replace(offer(), releases=(first, other, same))
    assert both.release("ab" * 32) is other
    assert both.release(first.sha256, "b") is same
    assert both.release(None) is first
    assert both.release("cd" * 32) is None


def test_without_a_statement_the_exact_line_to_sign_is_named() -> None:
    found, why = find_offer(deployment(), {}, ROOT)
    assert found is None
    assert "towline release sign app-2.0.0.tar.gz --component app --version 2.0.0" in why


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "ab" * 32}, "checksum"),
        ({"version": "2.0.1"}, "version"),
        ({"component": "other"}, "component"),
        ({"organization": "evil"}, "organization"),
    ],
)
def test_a_statement_for_something_else_is_named(change: dict[str, str], words: str) -> None:
    assert words in problem(replace(statement("2.0.0"), **change))  # type: ignore[arg-type]


def test_a_statement_by_another_key_is_not_trusted() -> None:
    assert "threshold" in problem(statement("2.0.0"), PrivateKey.generate())


def condition(version: str | None, **changes: object) -> Condition:
    base = Condition(version, has_checksum=version == "2.0.0")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "more", "expected"),
    [
        (condition(None), "", Fit.FITS),
        (condition("1.0.0"), "", Fit.FITS),
        (condition("2.0.0"), "", Fit.THERE),
        (condition("2.0.0", has_checksum=False), "", Fit.FITS),
        (condition("3.0.0"), "", Fit.NEWER_INSTALLED),
        (condition("3.0.0"), "  allowDowngrade: true\n", Fit.FITS),
        (condition("factory"), "", Fit.FITS),
        (condition("factory"), '  requires: ">=1.0"\n', Fit.NOT_COMPARABLE),
        (condition("0.9.0"), '  requires: ">=1.0"\n', Fit.BELOW_BARRIER),
        (condition("1.0.0"), '  filters: {current_version: ">=1.5"}\n', Fit.UNMATCHED),
        (condition(None), '  filters: {current_version: ">=1.5"}\n', Fit.UNMATCHED),
        (condition(None), '  filters: {current_version: "!=1.5"}\n', Fit.FITS),
        (condition(None), '  requires: ">=1.5"\n', Fit.BELOW_BARRIER),
        (condition("1.0.0", is_known_bad=True), "", Fit.KNOWN_BAD),
        (condition("1.0.0", is_above_index=True), "", Fit.BELOW_INDEX),
        (condition("1.0.0", release=None), "", Fit.NO_PACKAGE),
        (condition("0.9.0", release=None), '  requires: ">=1.0"\n', Fit.BELOW_BARRIER),
        (condition("1.0.0", is_pinned=True), "", Fit.EXCLUDED),
        (condition("2.0.0", is_claimed=True), "", Fit.OWNED_BY_OTHER),
    ],
)
def test_each_condition_is_judged_as_the_manual_says(
    seen: Condition, more: str, expected: Fit
) -> None:
    assert fit(deployment(more), offer(), seen) is expected


def test_a_return_needs_no_leave_to_go_down_and_a_retry_forgives() -> None:
    newer, bad = condition("3.0.0"), condition("1.0.0", is_known_bad=True)
    assert fit(deployment(), offer(), newer, is_return=True) is Fit.FITS
    assert fit(deployment(), offer(), bad, is_retry=True) is Fit.FITS
