"""Finding the signed statement of every package that a manifest names, at the commit in force."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from towline.manifests.model import Deployment, Package
from towline.reconciler.offer import Offer, OfferedRelease, offer_of
from towline.schemas import envelope, statement
from towline.schemas.problems import Refused
from towline.schemas.root import Root


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One package of a Deployment or of one of its arms."""

    component: str
    version: str
    package: Package
    arm: str | None

    @property
    def path(self) -> str:
        """Where its statement lies."""
        return statement.statement_path(self.component, self.version, self.package.file_name)


def find_offer(
    manifest: Deployment, files: Mapping[str, bytes], root: Root
) -> tuple[Offer | None, str]:
    """The offer of a manifest by the statements of its commit, or what is missing or differs.

    Every package of every arm needs its own statement; the words name each that lacks it.
    """
    found = [_find(wanted, files, root) for wanted in _packages(manifest)]
    problems = dict.fromkeys(each for each in found if isinstance(each, str))
    if problems:
        return None, "; ".join(problems)
    return offer_of(manifest, [each for each in found if isinstance(each, OfferedRelease)]), ""


def statement_paths(manifest: Deployment) -> list[str]:
    """Where the statements of all packages of a manifest lie, arms included, each once."""
    return list(dict.fromkeys(wanted.path for wanted in _packages(manifest)))


def _packages(manifest: Deployment) -> Iterator[_Wanted]:
    """In the order in which they are tried on a device."""
    if not manifest.arms:
        for package in manifest.packages:
            yield _Wanted(manifest.component, manifest.target_version, package, None)
    for arm in manifest.arms:
        for package in arm.packages:
            yield _Wanted(manifest.component, arm.target_version, package, arm.name)


def _find(wanted: _Wanted, files: Mapping[str, bytes], root: Root) -> OfferedRelease | str:
    data = files.get(wanted.path)
    if data is None:
        return (
            f"{wanted.path} is missing; sign the package and commit it:"
            f" towline release sign {wanted.package.file_name} --component {wanted.component}"
            f" --version {wanted.version} --repo ."
        )
    try:
        sealed = envelope.parse(data)
        word = statement.verify(sealed, root.release)
    except Refused as refused:
        return f"{wanted.path} is not to be trusted: {refused}"
    problem = statement.misfit(
        word,
        organization=root.organization,
        component=wanted.component,
        version=wanted.version,
        sha256=wanted.package.sha256,
        package_format=wanted.package.format,
    )
    if problem:
        return f"{wanted.path}: {problem}"
    return OfferedRelease(
        version=word.version,
        sha256=word.sha256,
        size=word.size,
        urls=wanted.package.urls,
        statement=sealed.document(),
        rollback_index=word.rollback_index,
        arm=wanted.arm,
        signed_types=word.device_types,
        device_types=wanted.package.device_types,
        labels=wanted.package.labels,
    )
