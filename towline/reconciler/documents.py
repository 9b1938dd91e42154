"""What a device should run: the unsigned content of its document, built from the store alone.

Per component: its granted target that has no verdict yet, to be installed; else the newest run that
it completed, to be kept; else nothing, and what runs is kept.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy import Connection, Row, select

from towline.reconciler.offer import Offer
from towline.reconciler.store import tables as t
from towline.schemas import envelope
from towline.schemas.desired_state import COMPONENTS_LIMIT, ComponentAction, ComponentWanted
from towline.schemas.states import ACTIVE_TARGETS, TargetState

_KEEP = ComponentAction.KEEP
_ACTIVE = frozenset(state.value for state in ACTIVE_TARGETS)


def components_of(
    connection: Connection, device_seq: int, packages_url: str
) -> tuple[ComponentWanted, ...]:
    """The components of a device's document, by name; a package's own URL stays as it is."""
    wanted: dict[str, ComponentWanted] = {}
    for target in _targets(connection, device_seq):
        action = _action(target)
        if action is not None and target.component not in wanted:
            wanted[target.component] = _component(target, action, packages_url)
    # What is to be done goes before what is only to be kept, when there are too many.
    urgent = sorted(wanted.values(), key=lambda each: (each.action is _KEEP, each.name))
    return tuple(sorted(urgent[:COMPONENTS_LIMIT], key=lambda each: each.name))


def _targets(connection: Connection, device_seq: int) -> Sequence[Any]:
    """The device's targets, granted ones first, then the newest run first."""
    rows = connection.execute(
        select(
            t.targets.c.component,
            t.targets.c.status,
            t.targets.c.attempt,
            t.targets.c.sha256,
            t.targets.c.arm,
            t.targets.c.granted_at,
            t.runs.c.seq,
            t.runs.c.id,
            t.runs.c.revision,
            t.runs.c.target_version,
            t.runs.c.source_commit,
            t.runs.c.offer,
        )
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.targets.c.device_seq == device_seq, t.runs.c.offer.is_not(None))
    ).all()
    return sorted(rows, key=lambda row: (not _is_granted(row), -row.seq))


def _is_granted(target: Row[Any]) -> bool:
    return target.granted_at is not None and target.status in _ACTIVE


def _action(target: Row[Any]) -> ComponentAction | None:
    if _is_granted(target):
        return ComponentAction.INSTALL
    if target.status == TargetState.COMPLETED.value:
        return ComponentAction.KEEP
    return None


def _component(target: Row[Any], action: ComponentAction, packages_url: str) -> ComponentWanted:
    offer = Offer.parse(target.offer, target.target_version)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return ComponentWanted(
        name=target.component,
        action=action,
        version=release.version,
        sha256=release.sha256,
        size=release.size,
        urls=tuple(absolute(url, packages_url) for url in release.urls),
        deployment=str(target.id),
        revision=target.revision,
        attempt=target.attempt,
        commit=target.source_commit,
        statement=envelope.from_document(release.statement),
        install_timeout_s=offer.install_timeout_s,
        device_timeout_s=offer.device_timeout_s,
        health=offer.health,
    )


def absolute(url: str, packages_url: str) -> str:
    """A URL without a scheme lies under the server's /packages/."""
    return url if urlsplit(url).scheme else packages_url + quote(url.lstrip("/"))
