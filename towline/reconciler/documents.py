"""The unsigned content of a device's document, built from the store alone.

`wanted` says what each component should run; here it gets its URLs, its windows and its limits.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from sqlalchemy import Connection, Row, bindparam, select

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
    connection: Connection, device_seq: int, packages_url: str
) -> tuple[ComponentWanted, ...]:
    """The components of a device's document, by name; a package's own URL stays as it is.

    Where not all have room, the least urgent are left out: a device changes one component at a
    time, and the next have their turn when it is done.
    """
    device = _device(connection, device_seq)
    wanted = sorted(
        wanted_of(connection, device),
        key=lambda each: (_URGENCY.index(each.action), each.component),
    )[:COMPONENTS_LIMIT]
    frozen = _frozen(connection, device) if any(map(_obeys_windows, wanted)) else ()
    components = (_component(each, device, frozen, packages_url) for each in wanted)
    return tuple(sorted(_fitting(components, device), key=lambda each: each.name))


def _fitting(components: Iterable[ComponentWanted], device: Row[Any]) -> Iterable[ComponentWanted]:
    """Those for which there is room, the first ones first."""
    left = COMPONENTS_BYTES
    for each in components:
        size = len(strict_json.canonical(each.document())) + len(",")
        if size > COMPONENTS_BYTES:
            log.error("component.too_large", device=device.slug, component=each.name, bytes=size)
        if size <= left:
            left -= size
            yield each


def _device(connection: Connection, device_seq: int) -> Row[Any]:
    return connection.execute(_OF_DEVICE, {"of_device": device_seq}).one()


_OF_DEVICE = (
    select(t.edge_devices, t.label_sets.c.labels)
    .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
    .where(t.edge_devices.c.seq == bindparam("of_device"))
)


def _obeys_windows(wanted: Wanted) -> bool:
    """What is only kept begins nothing; a return at night goes through all windows."""
    return wanted.action is not ComponentAction.KEEP and not wanted.run.through_windows


def _frozen(connection: Connection, device: Row[Any]) -> tuple[Window, ...]:
    filterable = FilterableDevice(device.slug, device.device_type, device.labels)
    return freezes.windows_of(connection, device.organization, filterable)


def _component(
    wanted: Wanted, device: Row[Any], frozen: tuple[Window, ...], packages_url: str
) -> ComponentWanted:
    offer, release, run = wanted.offer, wanted.release, wanted.run
    windows = bounded((*_own_windows(wanted), *frozen)) if _obeys_windows(wanted) else ()
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
        time_zone=device.time_zone if windows else None,
    )


def _own_windows(wanted: Wanted) -> tuple[Window, ...]:
    """Of the run at hand, also where it goes back to another run's release."""
    return Offer.parse(wanted.run.offer, wanted.run.target_version).windows


def absolute(url: str, packages_url: str) -> str:
    """A URL without a scheme lies under the server's /packages/."""
    return url if urlsplit(url).scheme else packages_url + quote(url.lstrip("/"))
