"""Whether an owned device needs a release and may get it: asked once, when it is selected."""

from enum import StrEnum

from towline.manifests.model import Deployment
from towline.manifests.version import NotComparable, Range, is_newer
from towline.reconciler.offer import Offer
from towline.reconciler.store.choice import OWNED_BY_OTHER
from towline.reconciler.store.condition_keys import Condition


class Fit(StrEnum):
    """What a device is to a release; all but the first three are reasons to skip it."""

    FITS = "fits"
    THERE = "there"
    """Runs this version and checksum already."""
    UNMATCHED = "unmatched"
    """`current_version` does not match: no target and no word about it."""
    BELOW_BARRIER = "BelowBarrier"
    NEWER_INSTALLED = "NewerInstalled"
    NOT_COMPARABLE = "VersionNotComparable"
    KNOWN_BAD = "KnownBad"
    NO_PACKAGE = "NoPackageForDevice"
    BELOW_INDEX = "BelowRollbackIndex"
    EXCLUDED = "Excluded"
    """A person sent it back from this revision."""
    OWNED_BY_OTHER = OWNED_BY_OTHER

    @property
    def is_skip(self) -> bool:
        """True when the device gets a target that says why it is skipped."""
        return self not in (Fit.FITS, Fit.THERE, Fit.UNMATCHED)


def fit(
    manifest: Deployment,
    offer: Offer,
    condition: Condition,
    *,
    is_return: bool = False,
    is_retry: bool = False,
) -> Fit:
    """Judge one condition by the release that the device would get.

    A return needs no allowDowngrade, a retry forgives the known-bad.
    """
    if condition.is_claimed:
        return Fit.OWNED_BY_OTHER
    if condition.is_pinned:
        return Fit.EXCLUDED
    release = None if condition.release is None else offer.releases[condition.release]
    if release and condition.has_checksum and condition.version == release.version:
        return Fit.THERE
    # A return brings home whoever is owned: what `filters` asked of the old version is past.
    if not is_return and (by_version := _eligible(manifest, condition.version)) is not Fit.FITS:
        return by_version
    if release is None:
        return Fit.NO_PACKAGE
    if not is_return and _is_downgrade(manifest, condition.version, release.version):
        return Fit.NEWER_INSTALLED
    if condition.is_above_index:
        return Fit.BELOW_INDEX
    if condition.is_known_bad and not is_retry:
        return Fit.KNOWN_BAD
    return Fit.FITS


def _fit_nothing_installed(manifest: Deployment) -> Fit:
    wanted, barrier = manifest.eligibility.current_version, manifest.eligibility.requires
    if wanted and not _holds_for_none(wanted):
        return Fit.UNMATCHED
    if barrier and not _holds_for_none(barrier):
        return Fit.BELOW_BARRIER
    return Fit.FITS


def _holds_for_none(text: str) -> bool:
    """Where nothing is installed, only "not this one" is true."""
    return all(term.operator == "!=" for term in Range.parse(text).terms)


def _eligible(manifest: Deployment, version: str | None) -> Fit:
    """What `current_version` and `requires` say of the version that runs."""
    if version is None:
        return _fit_nothing_installed(manifest)
    eligibility = manifest.eligibility
    try:
        if eligibility.current_version and not Range.parse(eligibility.current_version).matches(
            version
        ):
            return Fit.UNMATCHED
        if eligibility.requires and not Range.parse(eligibility.requires).matches(version):
            return Fit.BELOW_BARRIER
    except NotComparable:
        return Fit.NOT_COMPARABLE
    return Fit.FITS


def _is_downgrade(manifest: Deployment, version: str | None, offered: str) -> bool:
    """True for a newer version than the offered one, without leave to go down."""
    if version is None or manifest.allow_downgrade:
        return False
    try:
        return is_newer(version, offered)
    except NotComparable:
        # Without an order there is no "newer": equality alone decided above.
        return False
