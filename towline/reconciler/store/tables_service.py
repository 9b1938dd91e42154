"""Tables of the service: the record, tokens and sessions, and what is to be looked at next."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from towline.reconciler.store.columns import Digest, Document, Number, Slug, Word, metadata

events = Table(
    "events",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", Number, nullable=False),
    Column("organization", Slug, nullable=False),
    Column("kind", Word, nullable=False),
    Column("deployment", Slug),
    Column("run", Uuid),
    Column("device", Slug),
    Column("reason", Word, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("cause", Text, nullable=False, server_default=""),
    Column("commit", Digest, nullable=False, server_default=""),
    Column("data", Document, nullable=False),
    Index(None, "deployment", "id"),
    Index(None, "device", "id"),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    Column("id", Number, primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("digest", Digest, nullable=False, unique=True),
    Column("labels", Document, nullable=False),
    Column("max_uses", Integer, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("to_pending", Boolean, nullable=False, server_default="0"),
    Column("author", String(255), nullable=False),
    Column("created_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("id", Number, primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("slug", Slug, nullable=False),
    Column("public_key", Digest, nullable=False),
    Column("device_type", Slug, nullable=False),
    Column("labels", Document, nullable=False, server_default="{}"),
    Column("source", String(64), nullable=False),
    Column("created_at", Number, nullable=False),
    UniqueConstraint("organization", "slug", "public_key"),
)
"""Devices, and keys of devices, that wait for an approval; `labels` are of the join token."""

sessions = Table(
    "sessions",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("digest", Digest, nullable=False, unique=True),
    Column("opened_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("boots", Document, nullable=False, server_default="[]"),
    Column("boot_returns", Integer, nullable=False, server_default="0"),
)
"""One live session per device; its row holds the SHA-256 of the bearer token. `boots`: the boot ids
that opened it, the last one first; `boot_returns`: how often one came back that another had
replaced."""

session_nonces = Table(
    "session_nonces",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("nonce", Digest, primary_key=True),
    Column("expires_at", Number, nullable=False),
    sqlite_with_rowid=False,
)
"""By SHA-256, those of the requests that opened sessions a while ago."""

admin_tokens = Table(
    "admin_tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("name", String(255), nullable=False),
    Column("role", Word, nullable=False),
    Column("digest", Digest, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("expires_at", Number),
    Column("revoked_at", Number),
    Column("last_used_at", Number),
    Column("labels", Document, server_default="{}", nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", Number, nullable=False),
    Column("organization", Slug, nullable=False),
    Column("person", String(255), nullable=False),
    Column("token_id", String(16), nullable=False),
    Column("role", Word, nullable=False),
    Column("action", Word, nullable=False),
    Column("deployment", Slug),
    Column("device", Slug),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("result", Word, nullable=False),
    Column("request", String(64), nullable=False),
    Column("number", Number, server_default="0", nullable=False),
    Column("previous", String(64), server_default="", nullable=False),
    Column("hash", String(64), server_default="", nullable=False),
    Index(None, "organization", "id"),
    Index(None, "organization", "number", unique=True),
    Index(None, "organization", "deployment", "id"),
)
"""What people did, one row for each act; triggers refuse to change or remove one.

`detail` is canonical JSON as text, the same bytes on both engines. `number` counts the acts of the
organization from 1; `previous` and `hash` are the chain that `schemas.audit_chain` describes.
"""

merge_requests = Table(
    "merge_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization", Slug, nullable=False),
    Column("name", Slug, nullable=False),
    Column("revision", Digest, nullable=False),
    Column("branch", String(255), nullable=False),
    Column("compare", Text, nullable=False),
    Column("title", String(255), nullable=False),
    Column("status", Word, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_by", Uuid, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("metadata", Document, nullable=False),
    Index(None, "organization", "name"),
)
"""Deployments made by the API that git does not want yet; the id is that of the run to come."""

answers = Table(
    "answers",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", Digest, nullable=False),
    Column("body", Document, nullable=False),
    Column("created_at", Number, nullable=False),
    sqlite_with_rowid=False,
)
"""What was answered under an Idempotency-Key; the digest is of the request."""

dirty_devices = Table(
    "dirty_devices",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("change", Number, nullable=False),
    Index("ix_dirty_devices_change", "change", unique=True),
)
"""A device's last change; triggers write it, and no row is ever removed."""

passed_over = Table(
    "passed_over",
    metadata,
    Column("run_seq", Number, ForeignKey("runs.seq"), primary_key=True),
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    sqlite_with_rowid=False,
)
"""Devices before a run's `cursor_pos` that fit, and were silent or busy: time brings them back."""

dirty_deployments = Table(
    "dirty_deployments",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("deployment", Slug, primary_key=True),
    sqlite_with_rowid=False,
)

change_outbox = Table(
    "change_outbox",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", Number, nullable=False, server_default="0"),
    Column("sender", String(16), nullable=False, server_default=""),
    Column("kind", Word, nullable=False),
    Column("payload", Document, nullable=False),
)
"""What one process tells the others, in the order of the commits; none on SQLite."""

leader_epoch = Table(
    "leader_epoch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Number, nullable=False),
    Column("holder", Text, nullable=False, server_default=""),
    Column("since", Number, nullable=False, server_default="0"),
)
"""One row: the newest term of a leader."""

ddi_actions = Table(
    "ddi_actions",
    metadata,
    Column("id", Number, primary_key=True),
    Column("run_seq", Number, ForeignKey("runs.seq"), nullable=False),
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), nullable=False),
    Column("attempt", Integer, nullable=False),
    UniqueConstraint("run_seq", "device_seq", "attempt"),
)
