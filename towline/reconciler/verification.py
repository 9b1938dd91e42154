"""Verified, not installed: what a device says that it runs, against what it completed.

Only a report sent after `completed` that still shows the version makes a target count as passed.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.store import dirt, grants, inventory
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.given import among_given
from towline.reconciler.store.reporters import Reporter
from towline.reconciler.store.targets import change_one, move_one
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState


class Completed(NamedTuple):
    """The target of a component that a device completed last."""

    device_seq: int
    component: str
    run_seq: int
    sha256: str | None
    arm: str | None
    verified_at: int | None


class Completions:
    """What devices of one transaction completed last, read for all of them at once."""

    def __init__(
        self, connection: Connection, devices: Iterable[int], completed: Collection[Completed]
    ) -> None:
        """`completed` is all that these devices completed last."""
        self._connection = connection
        self._wanted: dict[tuple[int, str | None, str | None], Installed] = {}
        self._live: dict[int, bool] = {}
        self._last: dict[int, dict[str, Completed]] = {}
        self._learn(devices, completed)

    def forget(self, device_seq: int) -> None:
        """A target of the device changed: what is known of it is asked again."""
        self._last.pop(device_seq, None)

    def says_nothing(self, device_seq: int, component: str, installed: Installed) -> bool:
        """Whether it is no news that the device runs this, for what it completed last."""
        if device_seq not in self._last:
            asked = last_completed(self._connection.dialect.name)
            rows = self._connection.execute(asked, {"devices": [device_seq]})
            self._learn([device_seq], [Completed(*row) for row in rows])
        last = self._last[device_seq].get(component)
        if last is None:
            return True
        is_wanted = self._wanted[last.run_seq, last.sha256, last.arm] == installed
        if last.verified_at is None:
            return not is_wanted
        return is_wanted or not self._live[last.run_seq]

    def _learn(self, devices: Iterable[int], completed: Collection[Completed]) -> None:
        self._last |= {device_seq: {} for device_seq in devices}
        for each in completed:
            self._last[each.device_seq][each.component] = each
        packages = {(each.run_seq, each.sha256, each.arm) for each in completed}
        if packages := packages - self._wanted.keys():
            self._read_runs(packages)

    def _read_runs(self, packages: set[tuple[int, str | None, str | None]]) -> None:
        asked = _runs_given(self._connection.dialect.name)
        rows = self._connection.execute(asked, {"runs": {run_seq for run_seq, _, _ in packages}})
        offers = {}
        for row in rows:
            offers[row.seq] = Offer.parse(row.offer, row.target_version)
            self._live[row.seq] = row.status in _LIVE
        for run_seq, sha256, arm in packages:
            release = offers[run_seq].release(sha256, arm)
            assert release is not None
            self._wanted[run_seq, sha256, arm] = Installed(release.version, release.sha256)


_LIVE = ("in_progress", "paused")


@lru_cache
def last_completed(engine: str) -> Select[Any]:
    """What the `devices` of a statement completed last, as `Completed`."""
    columns = [t.targets.c[name] for name in Completed._fields]
    completed = select(*columns).where(
        among_given(engine, t.targets.c.device_seq, "devices"),
        t.targets.c.status == TargetState.COMPLETED.value,
    )
    of_one = (t.targets.c.device_seq, t.targets.c.component)
    if engine == "sqlite":
        # It takes a group's other columns from the row of its maximum ("bare columns" in its
        # manual), in less than half the time that it takes with a window.
        last = func.max(t.targets.c.completed_at * 2**31 + t.targets.c.run_seq)
        return completed.group_by(*of_one).having(last.is_not(None))
    last_first = (t.targets.c.completed_at.desc(), t.targets.c.run_seq.desc())
    place = func.row_number().over(partition_by=of_one, order_by=last_first)
    placed = completed.add_columns(place.label("place")).subquery()
    return select(*(placed.c[name] for name in Completed._fields)).where(placed.c.place == 1)


@lru_cache
def _runs_given(engine: str) -> Select[Any]:
    columns = (t.runs.c.seq, t.runs.c.offer, t.runs.c.target_version, t.runs.c.status)
    return select(*columns).where(among_given(engine, t.runs.c.seq, "runs"))


def compare_versions(
    connection: Connection,
    now: int,
    reporter: Reporter,
    versions: Mapping[str, Installed],
    own: Row[Any] | None,
    completions: Completions,
) -> None:
    """A report sent after `completed` that shows the wanted version makes it verified."""
    for component, installed in versions.items():
        if own is not None and own.component == component:
            continue
        if completions.says_nothing(reporter.seq, component, installed):
            continue
        target = _last_completed(connection, reporter.seq, component)
        completions.forget(reporter.seq)
        if target.verified_at is None:
            _verify(connection, now, reporter, target)
        else:
            _regress(connection, now, reporter, target, installed)


def completed_after_all(connection: Connection, target: Row[Any], now: int) -> int:
    """When a target completes: after all others of its device, though the clock went back."""
    of = {"of_device": target.device_seq, "of_component": target.component}
    last: int | None = connection.execute(_LAST_COMPLETED_AT, of).scalar_one()
    return now if last is None or now >= last else last + 1


_LAST_COMPLETED_AT = select(func.max(t.targets.c.completed_at)).where(
    t.targets.c.device_seq == bindparam("of_device"),
    t.targets.c.component == bindparam("of_component"),
    t.targets.c.status == TargetState.COMPLETED.value,
)


def _last_completed(connection: Connection, device_seq: int, component: str) -> Row[Any]:
    """The target of the component that the device completed last."""
    of = {"of_device": device_seq, "of_component": component}
    return connection.execute(_COMPLETED, of).one()


_COMPLETED = (
    select(
        t.targets,
        t.runs.c.deployment,
        t.runs.c.id.label("run_id"),
        t.runs.c.target_version,
        t.runs.c.offer,
    )
    .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
    .where(
        t.targets.c.device_seq == bindparam("of_device"),
        t.targets.c.component == bindparam("of_component"),
        t.targets.c.status == TargetState.COMPLETED.value,
    )
    .order_by(t.targets.c.completed_at.desc(), t.targets.c.run_seq.desc())
    .limit(1)
)


def _release(target: Row[Any]) -> OfferedRelease:
    """What the target was for: its own release of the run's."""
    offer = Offer.parse(target.offer, target.target_version)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return release


def _verify(connection: Connection, now: int, reporter: Reporter, target: Row[Any]) -> None:
    change_one(connection, target, verified_at=now, deadline=None)
    inventory.raise_rollback_index(
        connection, reporter.seq, target.component, _release(target).rollback_index
    )
    grants.note_verdict(connection, target.run_seq, [reporter.seq], now)
    dirt.mark(connection, reporter.organization, target.deployment)


def _regress(
    connection: Connection,
    now: int,
    reporter: Reporter,
    target: Row[Any],
    installed: Installed,
) -> None:
    """While the run lives, a verified device that shows another version counts as failed."""
    message = f"reports {installed.version} after {_release(target).version} was verified"
    move_one(connection, target, TargetState.FAILED, reason="Regressed", error_message=message)
    grants.note_verdict(connection, target.run_seq, [reporter.seq], now)
    dirt.mark(connection, reporter.organization, target.deployment)
    event = Event(
        "device.failed",
        deployment=target.deployment,
        run=target.run_id,
        device=reporter.slug,
        reason="Regressed",
        message=message,
    )
    record(connection, reporter.organization, now, event)
