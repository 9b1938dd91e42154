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
class _FirstRun:
    """What is asked of a run that is not there yet."""

    status: str = "pending"
    is_return: bool = False
    is_retry: bool = False


def reach(connection: Connection, head: Head, manifest: Deployment, seen_after: int) -> int:
    """Devices that it owns, that are eligible and run something else.

    What other Deployments own counts as well: the caller has refused or replaced them.
    """
    alone = replace(head, deployments={manifest.name: manifest})
    choice = choice_of(alone, manifest, _NO_RUN_SEQ, None, seen_after)
    offer = offer_of(
        manifest,
        [
            OfferedRelease(manifest.target_version, package.sha256, 0, package.urls, {})
            for package in manifest.packages
        ],
    )
    run = cast(Row[Any], _FirstRun())
    fitting = groups_by_fit(connection, manifest, offer, run, choice).get(Fit.FITS, [])
    return count_devices(group for group in fitting if wants_status(manifest, run, group.is_seen))
