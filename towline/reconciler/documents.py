"""The unsigned content of a device's document, built from the store alone.

`wanted` says what each component should run; here it gets its URLs, its windows and its limits.
"""

from datetime import date
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy import Connection, Row, select

from towline.manifests.filters import FilterableDevice
from towline.reconciler.offer import Offer
from towline.reconciler.store import freezes
from towline.reconciler.store import tables as t
from towline.reconciler.wanted import Wanted, wanted_of
from towline.schemas import envelope
from towline.schemas.desired_state import COMPONENTS_LIMIT, ComponentAction, ComponentWanted
from towline.schemas.windows import WINDOWS_LIMIT, Deny, Window

_URGENCY = (
    ComponentAction.ROLLBACK,
    ComponentAction.INSTALL,
    ComponentAction.PREPARE,
    ComponentAction.KEEP,
)
"""What is to be done goes before what is only to be kept, when there are too many."""


def components_of(
    connection: Connection, device_seq: int, packages_url: str
) -> tuple[ComponentWanted, ...]:
    """The components of a device's document, by name; a package's own URL stays as it is."""
    device = _device(connection, device_seq)
    wanted = sorted(
        wanted_of(connection, device),
        key=lambda each: (_URGENCY.index(each.action), each.component),
    )[:COMPONENTS_LIMIT]
    frozen = _frozen(connection, device) if any(map(_obeys_windows, wanted)) else ()
    components = [_component(each, device, frozen, packages_url) for each in wanted]
    return tuple(sorted(components, key=lambda each: each.name))


def _device(connection: Connection, device_seq: int) -> Row[Any]:
    return connection.execute(
        select(t.edge_devices, t.label_sets.c.labels)
        .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
        .where(t.edge_devices.c.seq == device_seq)
    ).one()


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
    windows = _bounded((*_own_windows(wanted), *frozen)) if _obeys_windows(wanted) else ()
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


_NEVER = (Window(Deny(date.min, date.max), reason="too many windows and freezes apply"),)


def _bounded(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """A document that the device would refuse helps nobody: rather nothing is installed."""
    return windows if len(windows) <= WINDOWS_LIMIT else _NEVER


def _own_windows(wanted: Wanted) -> tuple[Window, ...]:
    """Of the run at hand, also where it goes back to another run's release."""
    return Offer.parse(wanted.run.offer, wanted.run.target_version).windows


def absolute(url: str, packages_url: str) -> str:
    """A URL without a scheme lies under the server's /packages/."""
    return url if urlsplit(url).scheme else packages_url + quote(url.lstrip("/"))
