"""What people read of the audit: who did what, newest first, in pages by key."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, or_, select

from towline.reconciler.store import audit_rows
from towline.reconciler.store.audit import device_mark
from towline.reconciler.store.tables import audit, edge_devices


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which acts are wanted; None asks for nothing."""

    person: str | None = None
    """A person's name or a token's id."""
    deployment: str | None = None
    device: str | None = None
    action: str | None = None
    """`deployment.pause`, or the part before the dot."""
    since: int | None = None
    """From this time on, in seconds since the epoch."""
    until: int | None = None
    """Before this time."""
    before: int | None = None
    """Only with a lower id: where the page before ended."""


def acts(
    connection: Connection, organization: str, wanted: AuditFilter, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """At most `limit` acts of the organization, newest first, and the `before` of the next page.

    Each is `{id, number, at, person, token, role, action, deployment, device, object, detail,
    result, request, previous, hash, device_id}`; `result` is `done` or `refused`, `detail` has the
    `reason` that the person gave. The second value is None on the last page.
    """
    where = [audit.c.organization == organization, *_conditions(organization, wanted)]
    rows = connection.execute(
        select(audit).where(*where).order_by(audit.c.id.desc()).limit(limit + 1)
    ).all()
    shown = rows[:limit]
    names = _names(connection, organization, {row.device for row in shown if row.device})
    items = [audit_rows.document(row._asdict(), names.get(row.device)) for row in shown]
    return items, shown[-1].id if len(rows) > limit else None


def _names(connection: Connection, organization: str, marks: set[str]) -> dict[str, str]:
    """What the devices are called now; acts of before devices had UUIDs here hold ids."""
    uuids = [UUID(mark) for mark in marks if _is_uuid(mark)]
    rows = connection.execute(
        select(edge_devices.c.id, edge_devices.c.slug).where(
            edge_devices.c.organization == organization, edge_devices.c.id.in_(uuids)
        )
    )
    found = {str(row.id): row.slug for row in rows}
    return {mark: mark for mark in marks if not _is_uuid(mark)} | found


def _is_uuid(mark: str) -> bool:
    try:
        return str(UUID(mark)) == mark
    except ValueError:
        return False


def _conditions(organization: str, wanted: AuditFilter) -> list[ColumnElement[bool]]:
    columns = audit.c
    where: list[ColumnElement[bool]] = []
    if wanted.person is not None:
        where.append(or_(columns.person == wanted.person, columns.token_id == wanted.person))
    if wanted.action is not None:
        of_kind = columns.action.startswith(f"{wanted.action}.", autoescape=True)
        where.append(or_(columns.action == wanted.action, of_kind))
    if wanted.deployment is not None:
        where.append(columns.deployment == wanted.deployment)
    if wanted.device is not None:
        mark = device_mark(organization, wanted.device)
        where.append(columns.device.in_([mark, wanted.device]))
    if wanted.since is not None:
        where.append(columns.at >= wanted.since)
    if wanted.until is not None:
        where.append(columns.at < wanted.until)
    if wanted.before is not None:
        where.append(columns.id < wanted.before)
    return where
