"""One device's story, in words and as JSON: what runs, what is wanted and by whom, what blocks."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from towline.reconciler.store import tables as t
from towline.schemas import times
from towline.schemas.states import TargetState

_TELLING = ("device.", "target.")
_STORY_LIMIT = 12


@dataclass(frozen=True, slots=True)
class _Component:
    """What the store knows of one component of the device."""

    name: str
    runs_version: str | None
    target: Row[Any] | None


def explain_device(
    connection: Connection, organization: str, slug: str, now: int
) -> dict[str, Any] | None:
    """`{"device", "components": […], "text"}`; None when there is no such device."""
    device = connection.execute(
        select(t.edge_devices, t.device_state.c.last_seen, t.device_state.c.rejected)
        .join(t.device_state, t.device_state.c.device_seq == t.edge_devices.c.seq)
        .where(t.edge_devices.c.organization == organization, t.edge_devices.c.slug == slug)
    ).first()
    if device is None:
        return None
    components = _components(connection, device.seq)
    lines = [_presence(device, now)]
    documents = []
    for component in components:
        documents.append(_document(component))
        lines += _sentences(component)
    if not components:
        lines.append("No Deployment has offered it anything yet.")
    if device.rejected:
        lines.append(f"It refused its last document: {device.rejected}; what runs is kept.")
    lines += _story(connection, slug)
    return {"device": slug, "components": documents, "text": "\n".join(lines)}


def _presence(device: Row[Any], now: int) -> str:
    if device.state == "revoked":
        return f"{device.slug} is revoked."
    if device.last_seen is None:
        return f"{device.slug} has never been seen."
    return f"{device.slug} was last seen {max(0, now - device.last_seen)} s ago."


def _components(connection: Connection, device_seq: int) -> list[_Component]:
    versions = connection.execute(
        select(t.device_components.c.component, t.component_versions.c.version)
        .join(
            t.component_versions,
            t.component_versions.c.id == t.device_components.c.version_id,
        )
        .where(t.device_components.c.device_seq == device_seq)
    )
    found: dict[str, str | None] = {row.component: row.version for row in versions}
    newest: dict[str, Row[Any]] = {}
    for row in connection.execute(
        select(t.targets, t.runs.c.deployment, t.runs.c.target_version, t.runs.c.author,
               t.runs.c.source_commit, t.runs.c.status.label("run_status"),
               t.runs.c.reason.label("run_reason"), t.runs.c.message.label("run_message"))
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.targets.c.device_seq == device_seq)
        .order_by(t.targets.c.run_seq)
    ):  # fmt: skip
        newest[row.component] = row
        found.setdefault(row.component, None)
    return [_Component(name, found[name], newest.get(name)) for name in sorted(found)]


def _document(component: _Component) -> dict[str, Any]:
    target = component.target
    return {
        "component": component.name,
        "current": component.runs_version,
        "desired": target.target_version if target else None,
        "state": target.status if target else None,
        "reason": target.reason if target else None,
        "deployment": target.deployment if target else None,
        "commit": target.source_commit if target else None,
        "author": target.author if target else None,
        "blocks": _blocks(target) if target else "",
    }


def _sentences(component: _Component) -> list[str]:
    runs = component.runs_version or "nothing that Towline installed"
    lines = [f"{component.name}: it runs {runs}."]
    target = component.target
    if target is None:
        return lines
    lines.append(
        f"  Deployment {target.deployment} wants {target.target_version},"
        f" by commit {target.source_commit[:12]} of {target.author}."
    )
    if blocks := _blocks(target):
        lines.append(f"  {blocks}")
    return lines


def _blocks(target: Row[Any]) -> str:
    """The first thing that keeps the device from the wanted version."""
    match TargetState(target.status):
        case TargetState.COMPLETED:
            return "" if target.verified_at else "Installed; a later report must confirm it."
        case TargetState.ROLLED_BACK:
            why = target.error_message or "no message"
            return f"It rolled back by itself: {target.reason}: {why}"
        case TargetState.FAILED:
            return f"It failed: {target.reason}: {target.error_message or 'no message'}"
        case TargetState.SKIPPED:
            return f"It is skipped: {target.reason}."
    if target.granted_at is None:
        held = f"{target.run_reason} {target.run_message}".strip()
        return f"It waits for its turn; the run is {target.run_status}: {held}"
    return f"It works on it: {target.status}."


def _story(connection: Connection, slug: str) -> list[str]:
    rows = connection.execute(
        select(t.events)
        .where(t.events.c.device == slug)
        .order_by(t.events.c.id.desc())
        .limit(_STORY_LIMIT)
    ).all()
    if not rows:
        return []
    return ["Lately:", *(f"  {_event_line(row)}" for row in reversed(rows))]


def _event_line(row: Row[Any]) -> str:
    parts = [times.to_rfc3339(row.at), row.kind, row.reason, row.message.split("\n")[0]]
    return " ".join(part for part in parts if part)
