"""Finding a release that a device ran before: among what the component's runs have offered."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Text, and_, cast, func, select

from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.store import tables as t


@dataclass(frozen=True, slots=True)
class Found:
    """A release, with the newest run that offered it."""

    run: Row[Any]
    offer: Offer
    release: OfferedRelease


def find_release(
    connection: Connection, organization: str, component: str, version: str, sha256: str
) -> Found | None:
    """The newest run of the component whose offer has exactly this release."""
    rows = connection.execute(
        select(t.runs)
        .where(
            t.runs.c.organization == organization,
            t.runs.c.component == component,
            cast(t.runs.c.offer, Text).contains(sha256, autoescape=True),
        )
        .order_by(t.runs.c.seq.desc())
    )
    for run in rows:
        offer = Offer.parse(run.offer, run.target_version)
        for release in offer.releases:
            if (release.version, release.sha256) == (version, sha256):
                return Found(run, offer, release)
    return None


def can_go_back(connection: Connection, target: Row[Any]) -> bool:
    """True when the target's device can be told to run again what it came from.

    That needs a version recorded at the grant, its statement in a run of the organization, and no
    higher rollback index committed on the device since.
    """
    if target.from_version is None or target.from_sha256 is None:
        return False
    organization = connection.execute(
        select(t.runs.c.organization).where(t.runs.c.seq == target.run_seq)
    ).scalar_one()
    found = find_release(
        connection, organization, target.component, target.from_version, target.from_sha256
    )
    return found is not None and found.release.rollback_index >= _index(connection, target)


def _index(connection: Connection, target: Row[Any]) -> int:
    components = t.device_components.c
    found = connection.execute(
        select(func.coalesce(func.max(components.rollback_index), 0)).where(
            and_(
                components.device_seq == target.device_seq,
                components.component == target.component,
            )
        )
    )
    return int(found.scalar_one())
