"""The next devices of a run, found by walking its order: what is not walked over is not looked at.

Sorting all that fit finds the same ones. It is cheaper where few fit, as the walk passes all others
by, and it alone can count them.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.filters import may_overlap
from towline.manifests.model import Deployment
from towline.reconciler.fitness import Fit, fit
from towline.reconciler.offer import Offer
from towline.reconciler.scope import for_offer, is_free, order_of
from towline.reconciler.store import fleet, walking
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import group_of
from towline.reconciler.store.remembered import remembered

WINDOW = 2048
"""So many places are looked at by one statement."""
_CHEAPER = 4
"""A sort looks at each that fits, and at little of it: a walk must pass so many times fewer."""


def next_seen(
    connection: Connection,
    manifest: Deployment,
    offer: Offer,
    run: Row[Any],
    choice: Choice,
    limit: int,
) -> Sequence[int] | None:
    """The first `limit` devices in the run's order that it may take and that were seen lately.

    None: there are not so many, or all must be looked at to know.
    """
    order = order_of(manifest, run)
    if order is None or choice.since is not None or choice.within is not None:
        return None
    if any(may_overlap(choice.owner, claim.owner) for claim in choice.claims):
        return None  # Whoever is another's is told so, wherever in the order it stands.
    members = fleet.in_run(connection, run.seq)
    reach = places_to_walk(order.p, run.target_count, members, limit)
    if reach is None:
        return None
    whole = for_offer(choice, manifest, offer, run)
    return remembered(
        connection,
        "next seen",
        (whole, limit, manifest, offer),
        fleet.MADE_OF,
        lambda: _Walk(connection, manifest, offer, run, whole).first(order, limit, reach),
    )


def places_to_walk(places: int, total: int, members: int, limit: int) -> int | None:
    """Pure: how many places are likely to hold the members and the next ones; None: too many.

    `total`: as many as the run has or will have. It may be old, and only what it costs depends
    on it.
    """
    if total <= members:
        return None
    likely = (members + limit) * places // total
    if likely * _CHEAPER > total - members:
        return None
    return likely + likely // 2 + WINDOW


class _Walk:
    """Along one run's order."""

    def __init__(
        self,
        connection: Connection,
        manifest: Deployment,
        offer: Offer,
        run: Row[Any],
        choice: Choice,
    ) -> None:
        self._connection, self._choice = connection, choice
        self._manifest, self._offer, self._run = manifest, offer, run
        self._names = fleet.versions(connection, choice.component)
        self._judged: dict[int, bool] = {}

    def first(self, order: Affine, limit: int, reach: int) -> Sequence[int] | None:
        """The first `limit` to be taken within so many places."""
        found: list[int] = []
        walked = 0
        for numbers in walking.numbers_in(order, WINDOW):
            found += self._taken(numbers)
            if len(found) >= limit:
                return found[:limit]
            walked += len(numbers)
            if walked >= reach:
                break
        return None

    def _taken(self, numbers: Sequence[int]) -> list[int]:
        new = walking.not_in_run(self._connection, self._choice, numbers)
        if not new:
            return []
        keys = walking.keys_of_owned(self._connection, self._choice, new)
        return [number for number in new if number in keys and self._may_take(keys[number])]

    def _may_take(self, key: int) -> bool:
        """Few conditions are many devices': each is judged once."""
        if key not in self._judged:
            self._judged[key] = self._judge(key)
        return self._judged[key]

    def _judge(self, key: int) -> bool:
        run = self._run
        group = group_of(self._choice, self._names, key, 1)
        fits = fit(
            self._manifest,
            self._offer,
            group.condition,
            is_return=run.is_return,
            is_retry=run.is_retry,
        )
        return fits is Fit.FITS and is_free(self._manifest, run, group) and group.is_seen
