"""How many devices a manifest would take now, were it in force alone."""

from dataclasses import dataclass, replace
from typing import Any, cast

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.offer import OfferedRelease, offer_of
from towline.reconciler.scope import choice_of, count_devices, groups_by_fit, wants_status

_NO_RUN_SEQ = -1


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked of a run that has no devices yet."""

    status: str = "pending"
    is_return: bool = False
    is_retry: bool = False


def reach(connection: Connection, head: Head, manifest: Deployment, seen_after: int) -> int:
    """Devices that it owns, that are eligible and run something else.

    What other Deployments own counts as well: the caller has refused or replaced them.
    """
    alone = replace(head, deployments={manifest.name: manifest})
    return reach_beside(connection, alone, manifest, Kind(), seen_after)


def reach_beside(
    connection: Connection, head: Head, manifest: Deployment, kind: Kind, seen_after: int
) -> int:
    """The same beside the other Deployments of `head`, for a run of that kind."""
    choice = choice_of(head, manifest, _NO_RUN_SEQ, None, seen_after)
    offer = offer_of(
        manifest,
        [
            OfferedRelease(manifest.target_version, package.sha256, 0, package.urls, {})
            for package in manifest.packages
        ],
    )
    run = cast(Row[Any], kind)
    fitting = groups_by_fit(connection, manifest, offer, run, choice).get(Fit.FITS, [])
    return count_devices(group for group in fitting if wants_status(manifest, run, group.is_seen))
