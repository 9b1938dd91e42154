"""Devices by what is asked of them: one part at a time, however many there are.

A part ends with a cursor, behind which the next one begins: no device is shown twice and none is
left out because others came or went.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, tuple_

from towline.reconciler.store import reading_devices, reading_health
from towline.reconciler.store import tables as t
from towline.reconciler.store.among import among
from towline.schemas.states import TargetState

_SEEN = func.coalesce(t.device_state.c.last_seen, 0)
FAILING = (TargetState.FAILED, TargetState.ROLLED_BACK)


class Presence(StrEnum):
    """When a device was seen last."""

    ONLINE = "online"
    OFFLINE = "offline"
    NEVER = "never"


class DeviceOrder(StrEnum):
    """How a list of devices is sorted; with equal times by the order of enrolment."""

    BY_ID = "id"
    BY_ID_BACKWARDS = "-id"
    SEEN_LONG_AGO_FIRST = "last_seen"
    SEEN_LATELY_FIRST = "-last_seen"

    @property
    def is_by_id(self) -> bool:
        """True for both ways by id."""
        return self in (DeviceOrder.BY_ID, DeviceOrder.BY_ID_BACKWARDS)

    @property
    def is_backwards(self) -> bool:
        """True when the highest comes first."""
        return self.value.startswith("-")


class BadCursor(ValueError):
    """A cursor that no part of this order ended with."""


@dataclass(frozen=True, slots=True)
class FleetFilter:
    """Which devices are wanted; what is None or empty asks for nothing."""

    contains: str = ""
    """A part of the id."""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """None: the label is there, whatever its value."""
    presence: Presence | None = None
    after: str = ""
    """The cursor that the part before ended with."""
    device_type: str | None = None
    state: str | None = None
    """`active` or `revoked`."""
    version: str | None = None
    component: str | None = None
    """With `version`: of this component only."""
    status: TargetState | None = None
    """In the newest run of a Deployment."""
    is_failing: bool = False
    """Failed or rolled back in the newest run of a Deployment."""
    has_drifted: bool = False
    """Completed the newest run of a Deployment and reports something else since."""


def devices_part(
    connection: Connection,
    organization: str,
    wanted: FleetFilter,
    limit: int,
    seen_after: int,
    order: DeviceOrder = DeviceOrder.BY_ID,
) -> tuple[list[dict[str, Any]], int, str | None]:
    """At most `limit` devices, how many fit in all, and the cursor of the next part, if any.

    Raises BadCursor.
    """
    newest = _newest_runs(connection, organization, wanted)
    where = [
        t.edge_devices.c.organization == organization,
        *_conditions(wanted, seen_after),
        *_conditions_of_runs(connection, wanted, newest),
    ]
    counted = _joined(select(func.count()).select_from(t.edge_devices), _asks_presence(wanted))
    total = connection.execute(counted.where(*where)).scalar_one()
    rows = _rows(connection, where, wanted, order, limit)
    shown = reading_devices.of_numbers(
        connection, [row.seq for row in rows[:limit]], seen_after=seen_after
    )
    onward = _cursor(rows[limit - 1], order) if len(rows) > limit else None
    return shown, total, onward


def _rows(
    connection: Connection,
    where: Sequence[ColumnElement[bool]],
    wanted: FleetFilter,
    order: DeviceOrder,
    limit: int,
) -> Sequence[Row[Any]]:
    """One more than is shown, so that it is known whether there are more."""
    needs_state = _asks_presence(wanted) or not order.is_by_id
    seen = _SEEN.label("seen") if needs_state else t.edge_devices.c.seq.label("seen")
    statement = _joined(
        select(t.edge_devices.c.seq, t.edge_devices.c.slug, seen), needs_state
    ).where(*where)
    keys = [t.edge_devices.c.slug] if order.is_by_id else [_SEEN, t.edge_devices.c.seq]
    if wanted.after:
        statement = statement.where(_behind(wanted.after, order))
    directed = [key.desc() if order.is_backwards else key for key in keys]
    return connection.execute(statement.order_by(*directed).limit(limit + 1)).all()


def _joined(statement: Select[Any], needs_state: bool) -> Select[Any]:
    if not needs_state:
        return statement
    own = t.device_state.c.device_seq == t.edge_devices.c.seq
    return statement.outerjoin_from(t.edge_devices, t.device_state, own)


def _asks_presence(wanted: FleetFilter) -> bool:
    return wanted.presence is not None


def _cursor(row: Row[Any], order: DeviceOrder) -> str:
    return str(row.slug) if order.is_by_id else f"{row.seen}.{row.seq}"


def _behind(cursor: str, order: DeviceOrder) -> ColumnElement[bool]:
    if order.is_by_id:
        slug = t.edge_devices.c.slug
        return slug < cursor if order.is_backwards else slug > cursor
    seen, _, seq = cursor.partition(".")
    if not (_is_number(seen) and _is_number(seq)):
        raise BadCursor(cursor)
    key, former = tuple_(_SEEN, t.edge_devices.c.seq), tuple_(int(seen), int(seq))
    return key < former if order.is_backwards else key > former


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 17


def _conditions(wanted: FleetFilter, seen_after: int) -> list[ColumnElement[bool]]:
    devices = t.edge_devices.c
    where: list[ColumnElement[bool]] = []
    if wanted.contains:
        where.append(devices.slug.contains(wanted.contains, autoescape=True))
    if wanted.device_type is not None:
        where.append(devices.device_type == wanted.device_type)
    if wanted.state is not None:
        where.append(devices.state == wanted.state)
    if wanted.labels:
        where.append(devices.label_set_id.in_(_label_sets(wanted.labels)))
    if wanted.version is not None:
        where.append(devices.seq.in_(_who_runs(wanted.version, wanted.component)))
    match wanted.presence:
        case Presence.ONLINE:
            where.append(t.device_state.c.last_seen >= seen_after)
        case Presence.OFFLINE:
            where.append(t.device_state.c.last_seen < seen_after)
        case Presence.NEVER:
            where.append(t.device_state.c.last_seen.is_(None))
    return where


def _label_sets(labels: Mapping[str, str | None]) -> Select[tuple[int]]:
    """There are far fewer sets of labels than devices."""
    value_of = t.label_sets.c.labels
    return select(t.label_sets.c.id).where(
        *(
            value_of[key].as_string().is_not(None)
            if value is None
            else value_of[key].as_string() == value
            for key, value in labels.items()
        )
    )


def _who_runs(version: str, component: str | None) -> Select[tuple[int]]:
    versions = t.component_versions.c
    same = select(versions.id).where(versions.version == version)
    if component is not None:
        same = same.where(versions.component == component)
    parts = t.device_components.c
    return select(parts.device_seq).where(parts.version_id.in_(same))


def _newest_runs(connection: Connection, organization: str, wanted: FleetFilter) -> list[int]:
    """The newest run of each Deployment, where that is asked for."""
    if not (wanted.status or wanted.is_failing or wanted.has_drifted):
        return []
    return newest_runs(connection, organization)


def newest_runs(connection: Connection, organization: str) -> list[int]:
    """The number of each Deployment's newest run."""
    found = connection.execute(
        select(func.max(t.runs.c.seq))
        .where(t.runs.c.organization == organization)
        .group_by(t.runs.c.deployment)
    )
    return list(found.scalars())


def _conditions_of_runs(
    connection: Connection, wanted: FleetFilter, newest: Sequence[int]
) -> list[ColumnElement[bool]]:
    seq, targets = t.edge_devices.c.seq, t.targets.c
    where: list[ColumnElement[bool]] = []
    for states in ((wanted.status,) if wanted.status else (), FAILING if wanted.is_failing else ()):
        if states:
            of_runs = and_(targets.run_seq.in_(newest), targets.status.in_(states))
            where.append(seq.in_(select(targets.device_seq).where(of_runs)))
    if wanted.has_drifted:
        where.append(among(connection, seq, reading_health.drifted_devices(connection, newest)))
    return where
