"""What a list of devices is asked for, and the conditions that come of it.

`device_parts` reads the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from towline.reconciler.store import reading_health
from towline.reconciler.store import tables as t
from towline.reconciler.store.among import among
from towline.reconciler.store.device_keys import DeviceState
from towline.reconciler.store.labels import sets_with
from towline.schemas.states import TargetState

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
    within: Mapping[str, str] = field(default_factory=dict)
    """The labels of all that whoever asks may see."""
    presence: Presence | None = None
    after: str = ""
    """The cursor that the part before ended with."""
    device_type: str | None = None
    state: str | None = None
    """`active`, `revoked` or `duplicate`."""
    version: str | None = None
    component: str | None = None
    """With `version`: of this component only."""
    status: TargetState | None = None
    """In the newest run of a Deployment."""
    is_failing: bool = False
    """Failed or rolled back in the newest run of a Deployment."""
    has_drifted: bool = False
    """Completed the newest run of a Deployment and reports something else since."""


def conditions(
    connection: Connection, organization: str, wanted: FleetFilter
) -> list[ColumnElement[bool]]:
    """What a row of `edge_devices` must satisfy."""
    return [
        t.edge_devices.c.organization == organization,
        *_of_device(wanted),
        *_of_runs(connection, organization, wanted),
    ]


def presence(wanted: FleetFilter, seen_after: int) -> ColumnElement[bool] | None:
    """What its row of `device_state` must satisfy, if anything."""
    last_seen = t.device_state.c.last_seen
    match wanted.presence:
        case Presence.ONLINE:
            return last_seen >= seen_after
        case Presence.OFFLINE:
            return last_seen < seen_after
        case Presence.NEVER:
            return last_seen.is_(None)
    return None


def _of_device(wanted: FleetFilter) -> list[ColumnElement[bool]]:
    devices = t.edge_devices.c
    where: list[ColumnElement[bool]] = [devices.state != DeviceState.DELETED.value]
    if wanted.contains:
        where.append(devices.slug.contains(wanted.contains.lower(), autoescape=True))
    if wanted.device_type is not None:
        where.append(devices.device_type == wanted.device_type)
    if wanted.state is not None:
        where.append(devices.state == wanted.state)
    if wanted.labels:
        where.append(devices.label_set_id.in_(sets_with(wanted.labels)))
    if wanted.within:
        where.append(devices.label_set_id.in_(sets_with(wanted.within)))
    if wanted.version is not None:
        where.append(devices.seq.in_(_who_runs(wanted.version, wanted.component)))
    return where


def _who_runs(version: str, component: str | None) -> Select[tuple[int]]:
    versions = t.component_versions.c
    same = select(versions.id).where(versions.version == version)
    if component is not None:
        same = same.where(versions.component == component)
    parts = t.device_components.c
    return select(parts.device_seq).where(parts.version_id.in_(same))


def newest_runs(connection: Connection, organization: str) -> list[int]:
    """The number of each Deployment's newest run."""
    found = connection.execute(
        select(func.max(t.runs.c.seq))
        .where(t.runs.c.organization == organization)
        .group_by(t.runs.c.deployment)
    )
    return list(found.scalars())


def _of_runs(
    connection: Connection, organization: str, wanted: FleetFilter
) -> list[ColumnElement[bool]]:
    if not (wanted.status or wanted.is_failing or wanted.has_drifted):
        return []
    newest = newest_runs(connection, organization)
    seq, targets = t.edge_devices.c.seq, t.targets.c
    where: list[ColumnElement[bool]] = []
    for states in ((wanted.status,) if wanted.status else (), FAILING if wanted.is_failing else ()):
        if states:
            of_runs = and_(targets.run_seq.in_(newest), targets.status.in_(states))
            where.append(seq.in_(select(targets.device_seq).where(of_runs)))
    if wanted.has_drifted:
        where.append(among(connection, seq, reading_health.drifted_devices(connection, newest)))
    return where
