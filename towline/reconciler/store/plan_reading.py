"""What a plan tells beside the counts of a rehearsed run: names, zones, past lengths, owners."""

import statistics
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from towline.manifests.model import DeviceGroup, Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler.store.ownership import owned_by
from towline.reconciler.store.plan_groups import is_told
from towline.reconciler.store.tables import (
    device_tokens,
    edge_devices,
    repositories,
    runs,
    targets,
)
from towline.schemas.problems import Problem
from towline.schemas.states import TargetState
from towline.schemas.windows import Window

PAST_RUNS = 20
PAST_INSTALLS = 10_000


def commit_in_force(connection: Connection, organization: str) -> str | None:
    """The applied commit of an organization's repository; None before the first.

    Raises Problem when the store holds nothing of the organization.
    """
    row = connection.execute(
        select(repositories.c.applied_commit).where(repositories.c.organization == organization)
    ).first()
    if row is None:
        raise Problem(
            f"the store holds no fleet of {organization}",
            remedy="plan in the fleet repository that its server follows",
        )
    return None if row[0] is None else str(row[0])


def names(
    connection: Connection, run_seq: int, where: ColumnElement[bool], *, since: int, limit: int
) -> tuple[str, ...]:
    """The first ids of the counted targets for which `where` is true."""
    rows = connection.execute(
        select(edge_devices.c.slug)
        .join(targets, targets.c.device_seq == edge_devices.c.seq)
        .where(targets.c.run_seq == run_seq, is_told(since), where)
        .order_by(edge_devices.c.slug)
        .limit(limit)
    )
    return tuple(rows.scalars())


def in_batch(number: int) -> ColumnElement[bool]:
    """The targets of a batch that are not skipped."""
    return and_(targets.c.batch == number, targets.c.status != TargetState.SKIPPED.value)


def skipped_as(reason: str) -> ColumnElement[bool]:
    """The targets skipped for one reason."""
    return and_(targets.c.status == TargetState.SKIPPED.value, targets.c.reason == reason)


def zones(
    connection: Connection, run_seq: int, freezes: Sequence[Freeze]
) -> list[tuple[str | None, tuple[Window, ...]]]:
    """The time zones of a run's devices, each with the windows of the Freezes that apply there."""
    applies = [owned_by(connection, freeze.ownership, {}) for freeze in freezes]
    rows = connection.execute(
        select(edge_devices.c.time_zone, *(case((each, 1), else_=0) for each in applies))
        .join(targets, targets.c.device_seq == edge_devices.c.seq)
        .where(targets.c.run_seq == run_seq, targets.c.status != TargetState.SKIPPED.value)
        .distinct()
    ).all()
    return [
        (
            zone,
            tuple(
                window
                for freeze, is_frozen in zip(freezes, flags, strict=True)
                if is_frozen
                for window in freeze.windows
            ),
        )
        for zone, *flags in rows
    ]


def past_installs(connection: Connection, organization: str, component: str) -> list[int]:
    """Seconds from grant to verification of past installs of a component, in any order."""
    newest = (
        select(runs.c.seq)
        .where(
            runs.c.organization == organization,
            runs.c.component == component,
            runs.c.started_at.is_not(None),
        )
        .order_by(runs.c.seq.desc())
        .limit(PAST_RUNS)
    )
    rows = connection.execute(
        select(targets.c.verified_at - targets.c.granted_at)
        .where(
            targets.c.run_seq.in_(newest),
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_not(None),
            targets.c.granted_at.is_not(None),
        )
        .limit(PAST_INSTALLS)
    )
    return list(rows.scalars())


def median(lengths: Collection[int]) -> int | None:
    """The middle one; None of none."""
    return int(statistics.median(lengths)) if lengths else None


def common(
    connection: Connection,
    organization: str,
    one: Ownership,
    other: Ownership,
    group_map: Mapping[str, DeviceGroup],
    limit: int,
) -> tuple[int, tuple[str, ...]]:
    """How many devices two filters own together, and the first ids of them."""
    both = and_(
        edge_devices.c.organization == organization,
        edge_devices.c.state == "active",
        owned_by(connection, one, group_map),
        owned_by(connection, other, group_map),
    )
    total = connection.execute(select(func.count()).select_from(edge_devices).where(both))
    found = total.scalar_one()
    if not found:
        return 0, ()
    slugs = select(edge_devices.c.slug).where(both).order_by(edge_devices.c.slug).limit(limit)
    return found, tuple(connection.execute(slugs).scalars())


def owned(
    connection: Connection,
    organization: str,
    owner: Ownership,
    group_map: Mapping[str, DeviceGroup],
) -> int:
    """How many devices a filter owns."""
    mine = and_(
        edge_devices.c.organization == organization,
        edge_devices.c.state == "active",
        owned_by(connection, owner, group_map),
    )
    return int(
        connection.execute(select(func.count()).select_from(edge_devices).where(mine)).scalar_one()
    )


def unverifying(connection: Connection, run_seq: int) -> int:
    """How many devices that completed a run are old ones, with a token and without a key."""
    return int(
        connection.execute(
            select(func.count())
            .select_from(targets)
            .join(device_tokens, device_tokens.c.device_seq == targets.c.device_seq)
            .where(targets.c.run_seq == run_seq, targets.c.status == TargetState.COMPLETED.value)
        ).scalar_one()
    )


def releases_known(connection: Connection, organization: str, component: str) -> set[str]:
    """Versions of a component that a run could deliver once."""
    rows = connection.execute(
        select(runs.c.target_version)
        .where(
            runs.c.organization == organization,
            runs.c.component == component,
            runs.c.offer.is_not(None),
        )
        .distinct()
    )
    return set(rows.scalars())
