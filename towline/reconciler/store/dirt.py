"""Which Deployments must be looked at in the next pass, and whom to ring when all may differ."""

from dataclasses import dataclass

from sqlalchemy import BindParameter, Connection, bindparam, delete, exists, select, update

from towline.reconciler.store import outbox
from towline.reconciler.store.remembered import forget_firsts, is_first
from towline.reconciler.store.tables import dirty_deployments, edge_devices, manifests, runs
from towline.reconciler.store.upserts import insert_ignoring

_MARKED = "dirt.mark"


def mark(connection: Connection, organization: str, deployment: str) -> None:
    """The next pass looks at this Deployment, and soon."""
    outbox.wake(connection)
    if not is_first(connection, _MARKED, (organization, deployment)):
        return
    connection.execute(
        insert_ignoring(connection, dirty_deployments).values(
            organization=organization, deployment=deployment
        )
    )


def mark_all(connection: Connection, organization: str) -> None:
    """The next pass looks at every Deployment: a device, a label or a version changed."""
    names = connection.execute(
        select(manifests.c.name)
        .where(manifests.c.organization == organization)
        .union(select(runs.c.deployment).where(runs.c.organization == organization))
    ).scalars()
    for name in names.all():
        mark(connection, organization, name)


def ask_owners_anew(connection: Connection, organization: str) -> None:
    """Who came, went or was labelled anew may leave a run: as after a commit, each is looked at."""
    connection.execute(
        update(runs).where(runs.c.organization == organization).values(checked_commit=None)
    )
    mark_all(connection, organization)


def every_device(connection: Connection, organization: str) -> set[int]:
    """Whom to ring when every document may have changed."""
    seqs = connection.execute(
        select(edge_devices.c.seq).where(edge_devices.c.organization == organization)
    ).scalars()
    return set(seqs)


def take(connection: Connection, organization: str) -> list[str]:
    """The Deployments to look at; they are clean again with the caller's transaction."""
    forget_firsts(connection, _MARKED)
    taken = connection.execute(
        delete(dirty_deployments)
        .where(dirty_deployments.c.organization == organization)
        .returning(dirty_deployments.c.deployment)
    )
    return sorted(taken.scalars())


def forget_clocks(connection: Connection, organization: str, deployment: str) -> None:
    """A new run takes over: the clocks of former runs' devices are stored with it."""
    connection.execute(
        update(runs)
        .where(
            runs.c.organization == organization,
            runs.c.deployment == deployment,
            runs.c.next_due.is_not(None),
        )
        .values(next_due=None)
    )


def due(connection: Connection, organization: str, now: int) -> list[str]:
    """Deployments of which a clock ran out."""
    rows = connection.execute(
        select(runs.c.deployment)
        .where(runs.c.organization == organization, runs.c.next_due <= now)
        .distinct()
    )
    return sorted(rows.scalars())


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the next pass has to do, and when another one will have."""

    is_dirty: bool
    """A Deployment must be looked at."""
    next_due: int | None
    """The next time at which a clock of any run matters, which may be over."""

    def is_work(self, now: int) -> bool:
        """Whether a pass would look at any Deployment."""
        return self.is_dirty or (self.next_due is not None and self.next_due <= now)


def ahead(connection: Connection, organization: str) -> Ahead:
    """All that is asked while nothing happens: one statement, and nothing is written."""
    return Ahead(*connection.execute(_AHEAD, {"of_organization": organization}).one())


_OF: BindParameter[str] = bindparam("of_organization")
_AHEAD = select(
    exists(select(dirty_deployments.c.deployment).where(dirty_deployments.c.organization == _OF)),
    select(runs.c.next_due)
    .where(runs.c.organization == _OF, runs.c.next_due.is_not(None))
    .order_by(runs.c.next_due)
    .limit(1)
    .scalar_subquery(),
)
