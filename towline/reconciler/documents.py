"""The unsigned content of devices' documents, built from the store alone.

`wanted` says what each component should run; here it gets its URLs, its windows and its limits.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from sqlalchemy import Connection, Row, Select, bindparam, select

from towline.manifests.filters import FilterableDevice
from towline.reconciler.bounded_windows import bounded
from towline.reconciler.offer import Offer
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.reconciler.wanted import Wanted, wanted_of
from towline.schemas import envelope, strict_json
from towline.schemas.desired_state import (
    COMPONENTS_BYTES,
    COMPONENTS_LIMIT,
    ComponentAction,
    ComponentWanted,
)
from towline.schemas.windows import Window

_URGENCY = (
    ComponentAction.ROLLBACK,
    ComponentAction.INSTALL,
    ComponentAction.PREPARE,
    ComponentAction.KEEP,
)
"""What is to be done goes before what is only to be kept, when there is too much."""

log = structlog.get_logger()


def components_of(
    connection: Connection, asked: Mapping[int, str]
) -> dict[int, tuple[ComponentWanted, ...]]:
    """The components of devices' documents, each device's by name.

    `asked`: for each device where the server's packages lie, as it reaches them; a package's own
    URL stays as it is. Rows are read for all devices at once, and what they share is made once.

    Where not all components have room, the least urgent are left out: a device changes one
    component at a time, and the next have their turn when it is done.
    """
    devices = connection.execute(_DEVICES, {"of_devices": list(asked)}).all()
    wanted = wanted_of(connection, devices)
    parts = _Parts(connection, {device.label_set_id for device in devices})
    made: dict[Hashable, tuple[ComponentWanted, ...]] = {}
    found = {}
    for device in devices:
        own, url = wanted[device.seq], asked[device.seq]
        alike = (id(own), url, device.time_zone, parts.frozen(device))
        if alike not in made:
            made[alike] = _components(parts, device, own, url)
        found[device.seq] = made[alike]
    return found


_DEVICES: Select[Any] = select(
    t.edge_devices.c.seq,
    t.edge_devices.c.slug,
    t.edge_devices.c.organization,
    t.edge_devices.c.device_type,
    t.edge_devices.c.time_zone,
    t.edge_devices.c.label_set_id,
).where(t.edge_devices.c.seq.in_(bindparam("of_devices", expanding=True)))
_LABELS = select(t.label_sets.c.id, t.label_sets.c.labels).where(
    t.label_sets.c.id.in_(bindparam("of_sets", expanding=True))
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A component as a document carries it, and the room that it takes there."""

    component: ComponentWanted
    size: int
    of: Wanted
    """Lives as long as the part, which is found by it."""


class _Parts:
    """Makes components of what is wanted; devices that are to do the same share them."""

    def __init__(self, connection: Connection, label_sets: set[int]) -> None:
        """`label_sets`: of all devices."""
        self._connection = connection
        self._label_sets = label_sets
        self._made: dict[Hashable, _Part] = {}
        self._freezes: dict[str, tuple[freezes.InForce, ...]] = {}
        self._labels: dict[int, dict[str, str]] = {}

    def of(self, wanted: Wanted, device: Row[Any], packages_url: str) -> _Part:
        """One device's component."""
        # What is only kept begins nothing; a return at night goes through all windows.
        is_bound = wanted.action is not ComponentAction.KEEP and not wanted.run.through_windows
        frozen = self.frozen(device) if is_bound else ()
        alike = (wanted.action, wanted.run.seq, id(wanted.release), wanted.attempt, packages_url)
        key = (*alike, is_bound, frozen, device.time_zone if is_bound else None)
        part = self._made.get(key)
        if part is None:
            windows = bounded((*_own_windows(wanted), *frozen)) if is_bound else ()
            component = _component(wanted, windows, device.time_zone, packages_url)
            size = len(strict_json.canonical(component.document())) + len(",")
            part = self._made[key] = _Part(component, size, wanted)
        return part

    def frozen(self, device: Row[Any]) -> tuple[Window, ...]:
        """When the Freezes in force let a device begin nothing."""
        organization = device.organization
        if organization not in self._freezes:
            self._freezes[organization] = freezes.in_force(self._connection, organization)
        if not (those := self._freezes[organization]):
            return ()
        if not self._labels:
            rows = self._connection.execute(_LABELS, {"of_sets": list(self._label_sets)})
            self._labels = {row.id: row.labels for row in rows}
        labels = self._labels[device.label_set_id]
        filterable = FilterableDevice(device.slug, device.device_type, labels)
        return freezes.windows_for(those, filterable)


def _components(
    parts: _Parts, device: Row[Any], wanted: tuple[Wanted, ...], packages_url: str
) -> tuple[ComponentWanted, ...]:
    by_urgency = sorted(wanted, key=lambda each: (_URGENCY.index(each.action), each.component))
    made = (parts.of(each, device, packages_url) for each in by_urgency[:COMPONENTS_LIMIT])
    return tuple(sorted(_fitting(made, device), key=lambda each: each.name))


def _fitting(parts: Iterable[_Part], device: Row[Any]) -> Iterator[ComponentWanted]:
    """Those for which there is room, the first ones first."""
    left = COMPONENTS_BYTES
    for each in parts:
        if each.size > COMPONENTS_BYTES:
            name = each.component.name
            log.error("component.too_large", device=device.slug, component=name, bytes=each.size)
        if each.size <= left:
            left -= each.size
            yield each.component


def _component(
    wanted: Wanted, windows: tuple[Window, ...], time_zone: str | None, packages_url: str
) -> ComponentWanted:
    offer, release, run = wanted.offer, wanted.release, wanted.run
    return ComponentWanted(
        name=wanted.component,
        action=wanted.action,
        version=release.version,
        sha256=release.sha256,
        size=release.size,
        urls=tuple(absolute(url, packages_url) for url in release.urls),
        deployment=str(run.id),
        revision=run.revision,
        attempt=wanted.attempt,
        commit=run.source_commit,
        statement=envelope.from_document(release.statement),
        install_timeout_s=offer.install_timeout_s,
        device_timeout_s=offer.device_timeout_s,
        health=offer.health,
        rolls_back=offer.rolls_back,
        windows=windows,
        time_zone=time_zone if windows else None,
    )


def _own_windows(wanted: Wanted) -> tuple[Window, ...]:
    """Of the run at hand, also where it goes back to another run's release."""
    return Offer.parse(wanted.run.offer, wanted.run.target_version).windows


def absolute(url: str, packages_url: str) -> str:
    """A URL without a scheme lies under the server's /packages/."""
    return url if urlsplit(url).scheme else packages_url + quote(url.lstrip("/"))
