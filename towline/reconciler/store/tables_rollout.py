"""Tables of rollouts: what git wants, runs, batches, holds and targets, and what people did."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    and_,
    literal_column,
    or_,
)

from towline.reconciler.store.columns import (
    Digest,
    Document,
    Number,
    Slug,
    State,
    Version,
    Word,
    metadata,
)
from towline.schemas.states import ACTIVE_TARGETS, TargetState

repositories = Table(
    "repositories",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("url", Text, nullable=False),
    Column("branch", String(255), nullable=False),
    Column("path", String(255), nullable=False),
    Column("applied_commit", Digest),
    Column("applied_at", Number),
    Column("held_commit", Digest),
    Column("accepted_commit", Digest),
    Column("hold_reason", Text, nullable=False, server_default=""),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("last_fetch_at", Number),
    Column("restored_at", Number),
)
"""`restored_at`: when it was seen last that the store was put back to an older copy of itself."""

manifests = Table(
    "manifests",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("name", Slug, primary_key=True),
    Column("file", Text, nullable=False),
    Column("commit", Digest, nullable=False),
    Column("errors", Document, nullable=False),
    sqlite_with_rowid=False,
)
"""The Deployments in force; `commit` is where each loaded last, `errors` what is wrong since."""

revisions = Table(
    "revisions",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("deployment", Slug, primary_key=True),
    Column("id", Digest, primary_key=True),
    Column("content", Text, nullable=False),
    Column("commit", Digest, nullable=False),
    Column("author_name", String(255), nullable=False),
    Column("author_email", String(255), nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    sqlite_with_rowid=False,
)

runs = Table(
    "runs",
    metadata,
    Column("seq", Number, primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("organization", Slug, nullable=False),
    Column("deployment", Slug, nullable=False),
    Column("revision", Digest, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("component", Slug, nullable=False),
    Column("deployment_name", String(255), nullable=False),
    Column("target_version", Version, nullable=False),
    Column("rollout_strategy", Word, nullable=False),
    Column("rollout_percentage", Integer),
    Column("status", Word, nullable=False),
    Column("reason", Word, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("is_return", Boolean, nullable=False),
    Column("is_retry", Boolean, nullable=False),
    Column("start_requested", Boolean, nullable=False),
    Column("goes_back", Word, nullable=False, server_default=""),
    Column("through_windows", Boolean, nullable=False, server_default="0"),
    Column("source_commit", Digest, nullable=False),
    Column("author", String(255), nullable=False),
    Column("created_by", Uuid, nullable=False),
    Column("metadata", Document, nullable=False),
    Column("offer", Document),
    Column("filter_id", Number, ForeignKey("filters.id")),
    Column("target_count", Number, nullable=False, server_default="0"),
    Column("perm_p", Number, nullable=False),
    Column("perm_step", Number, nullable=False),
    Column("perm_off", Number, nullable=False),
    Column("cursor_pos", Number, nullable=False, server_default="0"),
    Column("next_due", Number),
    Column("progress_from", Number),
    Column("swept_at", Number),
    Column("checked_commit", Digest),
    Column("let_go_at", Number),
    Column("settled_change", Number),
    Column("settled_for", Version),
    Column("heard_since", Number),
    Column("walked_change", Number),
    Column("walked_for", Version),
    Column("started_at", Number),
    Column("completed_at", Number),
    Column("created_at", Number, nullable=False),
    Column("updated_at", Number, nullable=False),
    UniqueConstraint("organization", "deployment", "revision", "turn"),
    Index(None, "organization", "deployment", "seq"),
    Index(None, "component"),
)
Index(
    "ix_runs_next_due",
    runs.c.next_due,
    sqlite_where=runs.c.next_due.is_not(None),
    postgresql_where=runs.c.next_due.is_not(None),
)
"""`swept_at`: when it was last asked who of the last batch is silent for long. `checked_commit`: by
which commit it was last asked who is still owned. `let_go_at`: when git ceased to want what had
ended before. `settled_change`: up to which change of a device nobody was left to be taken, asked
for `settled_for`. `heard_since`: since then everyone who waits before the last batch was heard of.
`cursor_pos`: whoever stands before it in the order enters the run by a change after `walked_change`
or out of `passed_over`; asked for `walked_for`."""

batches = Table(
    "batches",
    metadata,
    Column("run_seq", Number, ForeignKey("runs.seq"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("is_last", Boolean, nullable=False),
    Column("is_alone", Boolean, nullable=False, server_default="0"),
    Column("state", Word, nullable=False),
    Column("size", Number, nullable=False),
    Column("success_threshold", Integer, nullable=False),
    Column("soak_s", Number, nullable=False),
    Column("opened_at", Number, nullable=False),
    Column("last_verdict_at", Number),
    Column("analysis_from", Number),
    Column("ended_at", Number),
    Column("filled_to", Number),
    sqlite_with_rowid=False,
)
"""`is_alone`: safeMode's one device. `analysis_from`: its soak is over, its figures are asked.
`filled_to`: up to which number devices were looked at for the last batch, while it is filled."""

holds = Table(
    "holds",
    metadata,
    Column("id", Number, primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("deployment", Slug, nullable=False),
    Column("run_seq", Number, ForeignKey("runs.seq")),
    Column("reason", Word, nullable=False),
    Column("message", Text, nullable=False),
    Column("author", String(255), nullable=False),
    Column("since", Number, nullable=False),
    Column("until", Number),
    Index(None, "organization", "deployment"),
)
"""`run_seq` is null for what stays with the Deployment over its runs (PausedByUser)."""

targets = Table(
    "targets",
    metadata,
    Column("run_seq", Number, ForeignKey("runs.seq"), primary_key=True),
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("component", Slug, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("status", State, nullable=False),
    Column("reason", Word, nullable=False, server_default=""),
    Column("error_message", Text),
    Column("progress", Integer),
    Column("attempt", Integer, nullable=False),
    Column("position", Number, nullable=False),
    Column("is_set_aside", Boolean, nullable=False, server_default="0"),
    Column("arm", Slug),
    Column("sha256", Digest),
    Column("goes_back", Boolean, nullable=False, server_default="0"),
    Column("from_version", Version),
    Column("from_sha256", Digest),
    Column("heals", Integer, nullable=False, server_default="0"),
    Column("healed_at", Number),
    Column("created_at", Number, nullable=False),
    Column("prepared_at", Number),
    Column("staged_at", Number),
    Column("waits", Word, nullable=False, server_default=""),
    Column("waits_since", Number),
    Column("granted_at", Number),
    Column("fetched_at", Number),
    Column("deadline", Number),
    Column("started_at", Number),
    Column("completed_at", Number),
    Column("verified_at", Number),
    Index(None, "run_seq", "status", "batch", "position"),
    Index(None, "device_seq"),
    sqlite_with_rowid=False,
)


def _of_run(name: str, where: ColumnElement[bool], *columns: Column[Any]) -> None:
    """An index of those targets of a run for which a condition holds."""
    by = (targets.c.run_seq, *columns)
    Index(f"ix_targets_{name}", *by, sqlite_where=where, postgresql_where=where)


_of_run("deadline", targets.c.deadline.is_not(None), targets.c.deadline)
Index(
    "uq_targets_active",
    targets.c.component,
    targets.c.device_seq,
    unique=True,
    sqlite_where=targets.c.status.in_(ACTIVE_TARGETS),
    postgresql_where=targets.c.status.in_(ACTIVE_TARGETS),
)
IS_AWAY = and_(
    targets.c.granted_at.is_not(None),
    or_(
        targets.c.status.in_(ACTIVE_TARGETS),
        and_(
            targets.c.status == TargetState.COMPLETED,
            targets.c.verified_at.is_(None),
        ),
    ),
)
"""Granted and without a verdict: what a slot and a budget count."""
_of_run("away", IS_AWAY, targets.c.device_seq)
IS_READY = and_(
    targets.c.status == TargetState.PENDING,
    targets.c.granted_at.is_(None),
    or_(targets.c.staged_at.is_not(None), targets.c.goes_back.is_(literal_column("true"))),
)
"""Waits for nothing but its grant."""
_of_run("ready", IS_READY, targets.c.batch, targets.c.position)
_of_run("back", targets.c.goes_back.is_(literal_column("true")), targets.c.device_seq)
"""`sha256` and `arm`: which package of the run's offer it gets. `waits`: what the device says that
its install waits for (a window, a lock); its deadline stands still meanwhile. `goes_back`: its
grant is for `from_version`."""

analyses = Table(
    "analyses",
    metadata,
    Column("id", Number, primary_key=True),
    Column("run_seq", Number, ForeignKey("runs.seq"), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("name", Slug, nullable=False),
    Column("asked_at", Number, nullable=False),
    Column("outcome", Word, nullable=False),
    Column("value", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index(None, "run_seq", "batch", "name"),
)

deployment_counts = Table(
    "deployment_counts",
    metadata,
    Column("run_seq", Number, ForeignKey("runs.seq"), primary_key=True),
    Column("batch", Integer, primary_key=True),
    Column("arm", Slug, primary_key=True),
    Column("status", Word, primary_key=True),
    Column("reason", Word, primary_key=True),
    Column("is_granted", Boolean, primary_key=True),
    Column("is_verified", Boolean, primary_key=True),
    Column("is_set_aside", Boolean, primary_key=True),
    Column("n", Number, nullable=False),
    sqlite_with_rowid=False,
)

overrides = Table(
    "overrides",
    metadata,
    Column("id", Number, primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("deployment", Slug, nullable=False),
    Column("run_seq", Number, ForeignKey("runs.seq")),
    Column("key", Word, nullable=False),
    Column("value", Document, nullable=False),
    Column("over", Document),
    Column("author", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("until", Number),
    Index(None, "organization", "deployment"),
)
"""What people laid over git; `over` is the git value it stands against and lapses with."""

plans = Table(
    "plans",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("revision", Digest, primary_key=True),
    Column("counts", Document, nullable=False),
    Column("author", String(255), nullable=False),
    Column("recorded_at", Number, nullable=False),
    sqlite_with_rowid=False,
)
