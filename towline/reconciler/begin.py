"""Beginning a run: its row, its order, its revision, from the manifest at the head."""

from typing import Any

from sqlalchemy import Connection, select, update

from towline.manifests.model import Deployment, Ownership
from towline.reconciler import restored
from towline.reconciler.actions import BeginRun
from towline.reconciler.cohort import order_for
from towline.reconciler.head import Head
from towline.reconciler.store import dirt, grants, merge_requests, pins, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.upserts import insert_ignoring
from towline.schemas.identifiers import author_uuid, run_uuid
from towline.schemas.states import RunState


def begin_run(
    connection: Connection, head: Head, manifest: Deployment, action: BeginRun, now: int
) -> set[int]:
    """Insert the next run of the manifest's revision; returns the touched devices.

    Latecomers and devices on their way back that the former run has not served pass to it.
    """
    former = runs.newest_run(connection, head.organization, manifest.name)
    touched = set()
    if former is not None:
        touched = grants.skip_unbegun(connection, former.seq, "Superseded", now, takes_back=True)
    run_id = run_uuid(head.organization, manifest.name, manifest.revision, action.turn)
    order = order_for(manifest.revision, runs.highest_seq(connection))
    _keep_revision(connection, head, manifest, now)
    _lift_pins(connection, head, manifest)
    dirt.forget_clocks(connection, head.organization, manifest.name)
    merge_requests.forget(connection, head.organization, run_id)
    runs.insert_run(
        connection,
        {
            "id": run_id,
            "organization": head.organization,
            "deployment": manifest.name,
            "revision": manifest.revision,
            "turn": action.turn,
            "component": manifest.component,
            "deployment_name": manifest.title or manifest.name,
            "target_version": manifest.target_version,
            "rollout_strategy": manifest.strategy.value,
            "rollout_percentage": manifest.rollout_percentage,
            "status": RunState.PENDING.value,
            "is_return": action.is_return,
            "is_retry": action.is_retry,
            "start_requested": action.is_retry,
            "source_commit": head.commit.sha,
            "author": head.commit.author,
            "created_by": author_uuid(head.commit.author_email),
            "metadata": contract_metadata(manifest),
            "perm_p": order.p,
            "perm_step": order.step,
            "perm_off": order.off,
            "created_at": now,
            "updated_at": now,
        },
    )
    event = Event(
        "run.created",
        deployment=manifest.name,
        run=run_id,
        message=f"{manifest.target_version}{', a return' if action.is_return else ''}",
        commit=head.commit.sha,
    )
    record(connection, head.organization, now, event)
    if not action.is_retry:
        restored.hold_begun(connection, head, manifest.name, now)
    return touched


def _lift_pins(connection: Connection, head: Head, manifest: Deployment) -> None:
    former = select(t.runs.c.seq).where(
        t.runs.c.organization == head.organization, t.runs.c.deployment == manifest.name
    )
    pins.lift_older(connection, former, manifest.component, manifest.revision)


def _keep_revision(connection: Connection, head: Head, manifest: Deployment, now: int) -> None:
    brought_by = {
        "commit": head.commit.sha,
        "author_name": head.commit.author_name,
        "author_email": head.commit.author_email,
        "subject": head.commit.subject,
    }
    connection.execute(
        insert_ignoring(connection, t.revisions).values(
            organization=head.organization,
            deployment=manifest.name,
            id=manifest.revision,
            content=manifest.canonical,
            created_at=now,
            **brought_by,
        )
    )
    # After a revert it is another commit that wants the same revision.
    connection.execute(
        update(t.revisions)
        .where(
            t.revisions.c.organization == head.organization,
            t.revisions.c.deployment == manifest.name,
            t.revisions.c.id == manifest.revision,
        )
        .values(brought_by)
    )


def contract_metadata(manifest: Deployment) -> dict[str, Any]:
    """The contract's `metadata` column."""
    package = manifest.packages[0]
    return {
        "update_package_url": package.urls[0],
        "checksum": f"sha256:{package.sha256}",
        "release_notes": manifest.release_notes,
        "filters": _filters(manifest),
    }


def _filters(manifest: Deployment) -> dict[str, Any]:
    owner: Ownership = manifest.ownership
    filters: dict[str, Any] = {
        "device_type": list(owner.device_types),
        "group": list(owner.groups),
        "labels": {key: list(values) for key, values in owner.labels},
        "devices": list(owner.devices),
        "exclude": list(owner.exclude),
        "current_version": manifest.eligibility.current_version,
        "status": manifest.eligibility.status,
    }
    return {key: value for key, value in filters.items() if value}
