"""Which devices a question of a run is about, and what must hold for one of them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, exists, literal, select, true

from towline.manifests.model import Ownership
from towline.reconciler.store import counters
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.ownership import Claim, Groups, owned_by
from towline.reconciler.store.tables import edge_devices, targets

OWNED_BY_OTHER = "OwnedByOther"
"""The one skip that comes back: when the other's claim is over, the device is new to the run."""
HASHED_MOST = 20_000
"""So many numbers Postgres keeps in a hash of its usual size of memory."""


@dataclass(frozen=True, slots=True)
class Affine:
    """`position = (seq + off) * mul % p`; devices numbered from `p` on come after all others."""

    p: int
    mul: int
    off: int

    def of(self, seq: ColumnElement[int]) -> ColumnElement[int]:
        """The position of a device as SQL."""
        return case((seq < self.p, (seq + self.off) * self.mul % self.p), else_=seq)

    def place(self, seq: int) -> int:
        """The same of a number."""
        return (seq + self.off) * self.mul % self.p if seq < self.p else seq


@dataclass(frozen=True, slots=True)
class Portion:
    """The devices that one of the run's releases is for: owned by all of `owners`."""

    sha256: str
    rollback_index: int
    arm: str | None = None
    owners: tuple[Ownership, ...] = ()
    points: tuple[int, int] | None = None
    """From, and to (exclusive): where the devices of its arm stand in `Choice.spread`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which devices a question is about: owned by `owner`, of `component`, not in `run_seq`."""

    organization: str
    deployment: str
    revision: str
    owner: Ownership
    within: Ownership | None
    """The batch's own filters, if any."""
    groups: Groups
    component: str
    run_seq: int
    seen_after: int
    """Seen lately means: not before this time."""
    claims: tuple[Claim, ...] = ()
    """Of other Deployments of the component."""
    portions: tuple[Portion, ...] = ()
    """Of the run's releases, in their order: a device gets the first one that is for it."""
    spread: Affine | None = None
    """Of an experiment."""
    since: int | None = None
    """Only devices that changed after this: the run is settled as to all others."""


def owned(connection: Connection, choice: Choice) -> ColumnElement[bool]:
    """The device is active and the filters own it."""
    parts = [
        _in_organization(choice),
        edge_devices.c.state == "active",
        owned_by(connection, choice.owner, choice.groups),
    ]
    if choice.within is not None:
        parts.append(owned_by(connection, choice.within, choice.groups))
    return and_(*parts)


def _in_organization(choice: Choice) -> ColumnElement[bool]:
    organization: ColumnElement[str] = edge_devices.c.organization
    if choice.owner.devices or (choice.within and choice.within.devices):
        return organization == choice.organization
    # Not by an index, nor out of one alone, which names and labels would ask of SQLite: what is
    # joined lies in the order of the table, and in any other most of a large fleet is a jump each.
    return and_(unindexed(organization) == choice.organization, edge_devices.c.slug != "")


def is_new(connection: Connection, choice: Choice) -> ColumnElement[bool]:
    """The device has no target in the run, or one that only says who else owns it."""
    mine = targets.alias("mine")
    in_run = mine.c.run_seq == choice.run_seq
    if not connection.execute(select(exists(select(literal(1)).where(in_run)))).scalar_one():
        return true()
    entered = and_(in_run, mine.c.reason != OWNED_BY_OTHER)
    is_all = connection.dialect.name == "postgresql" and choice.since is None
    if is_all and _has_few(connection, choice.run_seq):
        # Of a run that has just begun the statistics know nothing: it is taken to have a few
        # targets, and for each device all of them would be gone through. This is hashed once.
        return edge_devices.c.seq.not_in(select(mine.c.device_seq).where(entered))
    return ~exists(select(literal(1)).where(mine.c.device_seq == edge_devices.c.seq, entered))


def _has_few(connection: Connection, run_seq: int) -> bool:
    """Of more targets the statistics know, as so many were counted when they came."""
    return sum(counters.of_run(connection, run_seq).values()) <= HASHED_MOST
