"""What people read of devices and the repository, in the shapes of the API."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from towline.reconciler.store import arm_versions
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_keys import DeviceState, fingerprint_of
from towline.reconciler.store.labels import sets_with
from towline.reconciler.store.reading_batches import when
from towline.schemas.identifiers import is_id
from towline.schemas.states import ACTIVE_TARGETS, RunState, TargetState


def find_slug(
    connection: Connection, organization: str, text: str, within: Mapping[str, str] | None = None
) -> str | None:
    """The id of the device of that id or UUID; None when the organization has none.

    `within`: labels that it must have; without them it is as if there were none.
    """
    try:
        wanted = or_(t.edge_devices.c.id == UUID(text), t.edge_devices.c.slug == text)
    except ValueError:
        if not is_id(text):
            return None
        wanted = t.edge_devices.c.slug == text
    found: str | None = connection.execute(
        select(t.edge_devices.c.slug)
        .where(
            t.edge_devices.c.organization == organization,
            wanted,
            t.edge_devices.c.state != DeviceState.DELETED.value,
            *_with(within),
        )
        .limit(1)
    ).scalar_one_or_none()
    return found


def _with(labels: Mapping[str, str] | None) -> list[ColumnElement[bool]]:
    return [t.edge_devices.c.label_set_id.in_(sets_with(labels))] if labels else []


def device(
    connection: Connection,
    organization: str,
    text: str,
    *,
    seen_after: int,
    within: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """The device of that id or UUID; None when the organization has none, as for `find_slug`."""
    slug = find_slug(connection, organization, text, within)
    if slug is None:
        return None
    wanted = t.edge_devices.c.slug == slug
    rows = connection.execute(
        _select_devices().where(t.edge_devices.c.organization == organization, wanted)
    ).all()
    documents = _documents(connection, rows, seen_after)
    return documents[0] if documents else None


def of_numbers(
    connection: Connection, seqs: Sequence[int], *, seen_after: int
) -> list[dict[str, Any]]:
    """The devices of these numbers, in the order of the numbers."""
    found = connection.execute(_select_devices().where(t.edge_devices.c.seq.in_(seqs))).all()
    rows = {row.seq: row for row in found}
    return _documents(connection, [rows[seq] for seq in seqs], seen_after)


def _select_devices() -> Any:
    return (
        select(
            t.edge_devices,
            t.label_sets.c.labels,
            t.device_state.c.last_seen,
            t.device_state.c.facts,
            t.device_state.c.rejected,
            t.device_tokens.c.created_at.label("token_since"),
        )
        .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
        .outerjoin(t.device_state, t.device_state.c.device_seq == t.edge_devices.c.seq)
        .outerjoin(t.device_tokens, t.device_tokens.c.device_seq == t.edge_devices.c.seq)
    )


def _documents(
    connection: Connection, rows: Sequence[Row[Any]], seen_after: int
) -> list[dict[str, Any]]:
    seqs = [row.seq for row in rows]
    components = _components(connection, seqs)
    return [
        {
            "id": row.slug,
            "uuid": str(row.id),
            "organization": row.organization,
            "deviceType": row.device_type,
            "labels": row.labels,
            "timeZone": row.time_zone,
            "state": row.state,
            "fingerprint": fingerprint_of(row.public_key),
            "online": row.last_seen is not None and row.last_seen >= seen_after,
            "lastSeen": when(row.last_seen),
            "verifiesSignatures": row.token_since is None,
            "facts": row.facts or {},
            "rejected": row.rejected or "",
            "seq": row.seq,
            "components": components.get(row.seq, {}),
        }
        for row in rows
    ]


def _components(
    connection: Connection, seqs: Sequence[int]
) -> dict[int, dict[str, dict[str, Any]]]:
    found: dict[int, dict[str, dict[str, Any]]] = {}
    newest = _newest_targets(connection, seqs)
    of_arms = arm_versions.versions_of(connection, (row.run_seq for row in newest if row.arm))
    for row in newest:
        version = of_arms.get((row.run_seq, row.arm), row.target_version)
        found.setdefault(row.device_seq, {})[row.component] = _wanted(row, version)
    for row in _installed(connection, seqs):
        mine = found.setdefault(row.device_seq, {})
        mine.setdefault(row.component, dict(_NOTHING_WANTED)).update(_runs(row))
    return found


def _runs(row: Row[Any]) -> dict[str, Any]:
    """What a plan from an exported inventory needs beside the version."""
    pin = {"version": row.pin_version, "sha256": row.pin_sha256, "by": row.pinned_by}
    return {
        "current": row.version,
        "sha256": row.sha256,
        "rollbackIndex": row.rollback_index,
        "knownBad": row.known_bad,
        "pin": pin if row.pin_version is not None else None,
    }


_NOTHING_WANTED: dict[str, Any] = {
    "current": None,
    "sha256": None,
    "rollbackIndex": 0,
    "knownBad": None,
    "pin": None,
    "desired": None,
    "state": None,
    "reason": "",
    "message": "",
    "deployment": None,
    "attempt": None,
    "commit": None,
}


def _newest_targets(connection: Connection, seqs: Sequence[int]) -> Sequence[Any]:
    newest = (
        select(
            t.targets.c.device_seq,
            t.targets.c.component,
            func.max(t.targets.c.run_seq).label("run_seq"),
        )
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(
            t.targets.c.device_seq.in_(seqs),
            # How an attempt of a run ended that git no longer wants is not what the device is at.
            or_(
                t.runs.c.status != RunState.CANCELLED.value,
                t.targets.c.status.in_([TargetState.COMPLETED.value, *ACTIVE_TARGETS]),
            ),
        )
        .group_by(t.targets.c.device_seq, t.targets.c.component)
        .subquery()
    )
    is_newest = and_(
        t.targets.c.device_seq == newest.c.device_seq, t.targets.c.run_seq == newest.c.run_seq
    )
    return connection.execute(
        select(t.targets, t.runs.c.target_version, t.runs.c.deployment, t.runs.c.source_commit)
        .join(newest, is_newest)
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
    ).all()


def _wanted(row: Row[Any], version: str) -> dict[str, Any]:
    goes_back = row.goes_back and row.from_version is not None
    return _NOTHING_WANTED | {
        "desired": row.from_version if goes_back else version,
        "state": row.status,
        "reason": row.reason,
        "message": row.error_message or "",
        "deployment": row.deployment,
        "attempt": row.attempt,
        "commit": row.source_commit,
    }


def _installed(connection: Connection, seqs: Sequence[int]) -> Sequence[Any]:
    return connection.execute(
        select(
            t.device_components.c.device_seq,
            t.device_components.c.component,
            t.device_components.c.sha256,
            t.device_components.c.rollback_index,
            t.device_components.c.known_bad,
            t.device_components.c.pin_version,
            t.device_components.c.pin_sha256,
            t.device_components.c.pinned_by,
            t.component_versions.c.version,
        )
        .outerjoin(
            t.component_versions, t.component_versions.c.id == t.device_components.c.version_id
        )
        .where(t.device_components.c.device_seq.in_(seqs))
    ).all()


def repository(connection: Connection, organization: str) -> dict[str, Any] | None:
    """What the server knows of the fleet repository, and the manifests that are broken."""
    row = connection.execute(
        select(t.repositories).where(t.repositories.c.organization == organization)
    ).first()
    if row is None:
        return None
    manifests = connection.execute(
        select(t.manifests)
        .where(t.manifests.c.organization == organization)
        .order_by(t.manifests.c.name)
    ).all()
    return {
        "organization": organization,
        "url": row.url,
        "path": row.path,
        "branch": row.branch,
        "applied_commit": row.applied_commit,
        "applied_at": when(row.applied_at),
        "held_commit": row.held_commit,
        "hold_reason": row.hold_reason,
        "last_error": row.last_error,
        "last_fetch_at": when(row.last_fetch_at),
        "deployments": [each.name for each in manifests],
        "broken": [
            {"name": each.name, "file": each.file, "commit": each.commit, "errors": each.errors}
            for each in manifests
            if each.errors
        ],
    }
