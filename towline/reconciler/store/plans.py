"""Plans that people recorded: how many devices a revision was said to reach.

Several Deployments may deliver one revision; each has its own figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import plans


def record_plan(
    connection: Connection,
    organization: str,
    revision: str,
    deployment: str,
    *,
    targets: int,
    batches: Sequence[int],
    author: str,
    now: int,
) -> None:
    """Keep the figures of a plan in place of former ones of the Deployment."""
    where = (plans.c.organization == organization, plans.c.revision == revision)
    counts = {
        **_counts(connection, organization, revision),
        deployment: {"targets": targets, "batches": list(batches)},
    }
    connection.execute(delete(plans).where(*where))
    connection.execute(
        insert(plans).values(
            organization=organization,
            revision=revision,
            counts=counts,
            author=author,
            recorded_at=now,
        )
    )


def recorded_targets(
    connection: Connection, organization: str, revision: str, deployment: str
) -> int | None:
    """How many devices the recorded plan reached; None when none was recorded."""
    found = _counts(connection, organization, revision).get(deployment)
    return None if found is None else int(found["targets"])


def _counts(connection: Connection, organization: str, revision: str) -> Mapping[str, Any]:
    named = {"of_organization": organization, "revision": revision}

    def ask() -> Mapping[str, Any]:
        return connection.execute(_COUNTS, named).scalar_one_or_none() or {}

    return remembered(connection, "plan", named, [plans], ask)


_COUNTS = select(plans.c.counts).where(
    plans.c.organization == bindparam("of_organization"), plans.c.revision == bindparam("revision")
)
