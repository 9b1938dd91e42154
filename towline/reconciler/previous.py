"""Finding a release that a device ran before: among what the component's runs have offered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Text, and_, cast, select

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
    return not stranded(connection, target.run_seq, [target.device_seq])


def stranded(connection: Connection, run_seq: int, devices: Sequence[int]) -> set[int]:
    """Those of a run's devices that cannot be told to run again what they came from."""
    components = t.device_components.c
    rows = connection.execute(
        select(t.targets, t.runs.c.organization, components.rollback_index)
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .outerjoin(
            t.device_components,
            and_(
                components.device_seq == t.targets.c.device_seq,
                components.component == t.targets.c.component,
            ),
        )
        .where(t.targets.c.run_seq == run_seq, t.targets.c.device_seq.in_(devices))
    ).all()
    ways = {(row.from_version, row.from_sha256): row for row in rows}
    indexes = {way: _index_of(connection, row) for way, row in ways.items()}
    return {
        row.device_seq
        for row in rows
        if (index := indexes[row.from_version, row.from_sha256]) is None
        or index < (row.rollback_index or 0)
    }


def _index_of(connection: Connection, target: Row[Any]) -> int | None:
    """The rollback index of what the target's device came from; None when no run offered it."""
    if target.from_version is None or target.from_sha256 is None:
        return None
    found = find_release(
        connection,
        target.organization,
        target.component,
        target.from_version,
        target.from_sha256,
    )
    return None if found is None else found.release.rollback_index
