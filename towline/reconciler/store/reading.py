"""What people read: deployments and devices in the shapes of the API, one statement per kind.

Times are RFC 3339 in UTC. The five figures of a progress always sum to its total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from towline.reconciler.store import tables as t
from towline.reconciler.store.columns import sum_of
from towline.reconciler.store.reading_batches import batches_by_run, holds_by_run, when
from towline.schemas.identifiers import is_id
from towline.schemas.states import BUSY_TARGETS, RunState, TargetState

_BAD = (TargetState.FAILED, TargetState.ROLLED_BACK)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; pages count from 1."""

    number: int = 1
    size: int = 20
    before: int = 0
    """Entries of another kind that come first in the same list."""

    @property
    def offset(self) -> int:
        """How many entries of this kind the pages before have."""
        return max(0, (self.number - 1) * self.size - self.before)

    @property
    def limit(self) -> int:
        """How many entries of this kind the page has room for."""
        return min(self.size, max(0, self.number * self.size - self.before))

    def document(self, total: int) -> dict[str, int]:
        """The contract's `pagination`."""
        return {
            "page": self.number,
            "page_size": self.size,
            "total_count": total,
            "total_pages": -(-total // self.size),
        }


def runs_page(
    connection: Connection,
    organization: str,
    page: Page,
    *,
    status: RunState | None = None,
    name: str | None = None,
) -> tuple[Sequence[Row[Any]], int]:
    """One page of the rows of runs, newest first, and how many there are."""
    where: list[ColumnElement[bool]] = [t.runs.c.organization == organization]
    if status is not None:
        where.append(t.runs.c.status == status.value)
    if name is not None:
        where.append(t.runs.c.deployment == name)
    total = connection.execute(select(func.count()).select_from(t.runs).where(*where)).scalar_one()
    rows = connection.execute(
        select(t.runs)
        .where(*where)
        .order_by(t.runs.c.seq.desc())
        .limit(page.limit)
        .offset(page.offset)
    ).all()
    return rows, total


def find_run(connection: Connection, organization: str, text: str) -> Row[Any] | None:
    """The run of that UUID, or the newest one of the Deployment of that name."""
    try:
        wanted = t.runs.c.id == UUID(text)
    except ValueError:
        if not is_id(text):
            return None
        wanted = t.runs.c.deployment == text
    return connection.execute(
        select(t.runs)
        .where(t.runs.c.organization == organization, wanted)
        .order_by(t.runs.c.seq.desc())
        .limit(1)
    ).first()


def deployment(connection: Connection, run: Row[Any]) -> dict[str, Any]:
    """The contract's detail of a run, but for its devices."""
    (summary,) = summaries(connection, [run])
    counts = summary["counts"]
    return summary | {
        "completed_at": when(run.completed_at),
        "rollout_percentage": run.rollout_percentage,
        "metadata": run.metadata,
        "progress": progress(counts, run.target_count),
        "status_breakdown": {state.value: counts.get(state, 0) for state in TargetState},
    }


def progress(counts: Mapping[str, int], target_count: int) -> dict[str, Any]:
    """The five figures and the share that is completed, in percent with one decimal."""
    opened = sum(counts.values())
    total = max(target_count, opened)
    completed = counts.get(TargetState.COMPLETED, 0)
    return {
        "total_devices": total,
        "completed": completed,
        "failed": sum(counts.get(state, 0) for state in _BAD),
        "in_progress": sum(counts.get(state, 0) for state in BUSY_TARGETS),
        "pending": counts.get(TargetState.PENDING, 0) + total - opened,
        "skipped": counts.get(TargetState.SKIPPED, 0),
        "percentage": round(100 * completed / total, 1) if total else 0.0,
    }


def summaries(connection: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """What a list says of each run."""
    counts = counts_by_run(connection, [row.seq for row in rows])
    batches = batches_by_run(connection, [row.seq for row in rows])
    holds = holds_by_run(connection, rows)
    return [
        _summary(row, counts.get(row.seq, {}), batches.get(row.seq, []), holds.get(row.seq, []))
        for row in rows
    ]


def _summary(
    run: Row[Any],
    counts: Mapping[str, int],
    batches: list[dict[str, Any]],
    holds: list[dict[str, Any]],
) -> dict[str, Any]:
    figures = progress(counts, run.target_count)
    return {
        "deployment_id": str(run.id),
        "deployment_name": run.deployment_name,
        "target_version": run.target_version,
        "rollout_strategy": run.rollout_strategy,
        "status": run.status,
        "progress_percentage": figures["percentage"],
        "total_devices": figures["total_devices"],
        "completed_devices": figures["completed"],
        "failed_devices": figures["failed"],
        "created_at": when(run.created_at),
        "started_at": when(run.started_at),
        "name": run.deployment,
        "id": str(run.id),
        "component": run.component,
        "targetVersion": run.target_version,
        "strategy": run.rollout_strategy,
        "revision": run.revision,
        "turn": run.turn,
        "isReturn": run.is_return,
        "reason": run.reason,
        "message": run.message,
        "holds": holds,
        "commit": run.source_commit,
        "author": run.author,
        "startedAt": when(run.started_at),
        "nextDue": when(run.next_due),
        "goesBack": run.goes_back,
        "counts": dict(counts),
        "batches": batches,
    }


def counts_by_run(connection: Connection, run_seqs: Sequence[int]) -> dict[int, dict[str, int]]:
    """By run: how many of its devices are in which state."""
    counts = t.deployment_counts.c
    rows = connection.execute(
        select(counts.run_seq, counts.status, sum_of(counts.n))
        .where(counts.run_seq.in_(run_seqs))
        .group_by(counts.run_seq, counts.status)
    )
    found: dict[int, dict[str, int]] = {}
    for run_seq, status, n in rows:
        found.setdefault(run_seq, {})[status] = n
    return found


def select_targets() -> Select[Any]:
    """The rows that `target_document` shows, of all runs."""
    return (
        select(
            t.targets,
            t.edge_devices.c.slug,
            t.component_versions.c.version,
        )
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .outerjoin(
            t.device_components,
            and_(
                t.device_components.c.device_seq == t.targets.c.device_seq,
                t.device_components.c.component == t.targets.c.component,
            ),
        )
        .outerjoin(
            t.component_versions, t.component_versions.c.id == t.device_components.c.version_id
        )
    )


def target_document(row: Row[Any]) -> dict[str, Any]:
    """One device of a run, with the contract's keys and ours."""
    return {
        "device_id": row.slug,
        "device_name": row.slug,
        "current_version": row.version,
        "status": row.status,
        "started_at": when(row.started_at),
        "completed_at": when(row.completed_at),
        "error_message": row.error_message,
        "reason": row.reason,
        "batch": row.batch,
        "attempt": row.attempt,
        "arm": row.arm,
        "waits": row.waits,
        "granted_at": when(row.granted_at),
        "progress": row.progress,
        "from_version": row.from_version,
        "verified_at": when(row.verified_at),
    }
