"""One device's story, in words and as JSON: what runs, what is wanted and by whom, what blocks."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from towline.reconciler.store import runs
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
    """The device's newest target."""
    run: Row[Any] | None
    """The newest run of that target's Deployment: what git wants now."""

    @property
    def is_selected(self) -> bool:
        """True when the newest run has a target for the device."""
        return bool(self.target and self.run and self.target.run_seq == self.run.seq)


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
        select(t.targets, t.runs.c.deployment, t.runs.c.organization,
               t.runs.c.status.label("run_status"),
               t.runs.c.reason.label("run_reason"), t.runs.c.message.label("run_message"))
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.targets.c.device_seq == device_seq)
        .order_by(t.targets.c.run_seq)
    ):  # fmt: skip
        newest[row.component] = row
        found.setdefault(row.component, None)
    return [
        _Component(name, found[name], newest.get(name), _newest_run(connection, newest.get(name)))
        for name in sorted(found)
    ]


def _newest_run(connection: Connection, target: Row[Any] | None) -> Row[Any] | None:
    if target is None:
        return None
    return runs.newest_run(connection, target.organization, target.deployment)


def _document(component: _Component) -> dict[str, Any]:
    target, run = component.target, component.run
    return {
        "component": component.name,
        "current": component.runs_version,
        "desired": run.target_version if run else None,
        "state": target.status if target and component.is_selected else None,
        "reason": target.reason if target and component.is_selected else None,
        "deployment": run.deployment if run else None,
        "commit": run.source_commit if run else None,
        "author": run.author if run else None,
        "blocks": _first_block(component),
    }


def _sentences(component: _Component) -> list[str]:
    current = component.runs_version or "nothing that Towline installed"
    lines = [f"{component.name}: it runs {current}."]
    run = component.run
    if run is None:
        return lines
    lines.append(
        f"  Deployment {run.deployment} wants {run.target_version},"
        f" by commit {run.source_commit[:12]} of {run.author}."
    )
    if blocks := _first_block(component):
        lines.append(f"  {blocks}")
    return lines


def _first_block(component: _Component) -> str:
    """The first thing that keeps the device from what git wants; empty when nothing does."""
    target, run = component.target, component.run
    if target is None or run is None:
        return ""
    if component.is_selected:
        return _blocks(target)
    if component.runs_version == run.target_version:
        return ""
    held = f"{run.reason} {run.message}".strip()
    return f"It was not selected yet; the run is {run.status}: {held}".rstrip(": ")


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
