"""What people laid over git: one row per act, with author, reason and time."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import overrides


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, why and when."""

    name: str
    reason: str
    now: int


def lay_override(
    connection: Connection,
    run: Row[Any],
    key: str,
    value: object,
    who: Person,
    *,
    over: object = None,
    until: int | None = None,
) -> None:
    """Lay one over the run's Deployment; `over` is the git value that it lapses with."""
    connection.execute(
        insert(overrides).values(
            organization=run.organization,
            deployment=run.deployment,
            run_seq=run.seq,
            key=key,
            value=value,
            over=over,
            author=who.name,
            reason=who.reason,
            created_at=who.now,
            until=until,
        )
    )


def of_run(connection: Connection, run_seq: int) -> list[Row[Any]]:
    """What people laid over the run, in order, but for the devices that they named."""

    def ask() -> tuple[Row[Any], ...]:
        return tuple(connection.execute(_OF_RUN, {"of_run": run_seq}).all())

    return list(remembered(connection, "overrides", run_seq, [overrides], ask))


_OF_RUN = (
    select(overrides)
    .where(overrides.c.run_seq == bindparam("of_run"), overrides.c.key != "device")
    .order_by(overrides.c.id)
)


def named_devices(connection: Connection, organization: str, deployment: str) -> tuple[str, ...]:
    """Devices that people added by hand to a Deployment of strategy manual."""
    rows = connection.execute(
        select(overrides.c.value).where(
            overrides.c.organization == organization,
            overrides.c.deployment == deployment,
            overrides.c.key == "device",
        )
    )
    return tuple(sorted(set(rows.scalars())))


def is_resumed(connection: Connection, organization: str, deployment: str) -> bool:
    """Whether the last override of `paused` stands over a manifest that says so."""
    found = connection.execute(
        select(overrides.c.over)
        .where(
            overrides.c.organization == organization,
            overrides.c.deployment == deployment,
            overrides.c.key == "paused",
        )
        .order_by(overrides.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return found is True


def lapse_paused(connection: Connection, organization: str, paused: Collection[str]) -> None:
    """A `resume` over `paused: true` lapses when a commit changes the key or drops the manifest.

    `paused` are the Deployments that still say so.
    """
    connection.execute(
        delete(overrides).where(
            overrides.c.organization == organization,
            overrides.c.key == "paused",
            overrides.c.deployment.not_in(paused),
        )
    )
