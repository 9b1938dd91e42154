"""Tables of devices: who they are, what they run, how they are labelled and grouped."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    and_,
    case,
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
    bytewise,
    metadata,
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Slug, nullable=False, unique=True),
    Column("created_at", Number, nullable=False),
)

label_sets = Table(
    "label_sets",
    metadata,
    Column("id", Number, primary_key=True),
    Column("digest", Digest, nullable=False, unique=True),
    Column("labels", Document, nullable=False),
)

edge_devices = Table(
    "edge_devices",
    metadata,
    Column("seq", Number, primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("slug", Slug, nullable=False),
    Column("external_id", String(256)),
    Column("organization", Slug, nullable=False),
    Column("device_type", Slug, nullable=False),
    Column("label_set_id", Number, ForeignKey("label_sets.id"), nullable=False),
    Column("labels_git", Document, nullable=False),
    Column("labels_people", Document, nullable=False),
    Column("labels_join", Document, nullable=False),
    Column("public_key", Digest),
    Column("key_from", Word, nullable=False, server_default=""),
    Column("state", State, nullable=False),
    Column("revoked_in_git", Boolean, nullable=False, server_default="0"),
    Column("revoked_at", Number),
    Column("duplicate_at", Number),
    Column("deleted_at", Number),
    Column("time_zone", String(64)),
    Column("created_at", Number, nullable=False),
    UniqueConstraint("organization", "slug"),
    Index(None, "label_set_id", "organization", "state"),
    Index(None, "device_type", "organization"),
)
"""`key_from`: who admitted its key (`store/device_keys.py`). `state` follows from the columns after
it and is what statements ask; `revoked_at` is by people. A device that was deleted stays as a row,
so that runs stay what they were and its id is never taken by chance."""

_BY_GIT = edge_devices.c.key_from == literal_column("'git'")
BEARS_WORDS_OF_GIT = and_(
    edge_devices.c.state != "deleted",
    or_(
        edge_devices.c.labels_git != literal_column("'{}'"),
        edge_devices.c.revoked_in_git != _BY_GIT,
        edge_devices.c.state
        != case(
            (or_(_BY_GIT, edge_devices.c.revoked_at.is_not(None)), literal_column("'revoked'")),
            (edge_devices.c.duplicate_at.is_not(None), literal_column("'duplicate'")),
            else_=literal_column("'active'"),
        ),
    ),
)
"""A commit that does not name the device would change it: all that git may have said of it before,
and a state that does not follow from the columns behind it."""
Index(
    "ix_edge_devices_words_of_git",
    edge_devices.c.organization,
    edge_devices.c.seq,
    sqlite_where=BEARS_WORDS_OF_GIT,
    postgresql_where=BEARS_WORDS_OF_GIT,
)

device_state = Table(
    "device_state",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("last_seen", Number),
    Column("seen_before", Number),
    Column("facts", Document, nullable=False),
    Column("journal", String(64)),
    Column("report_seq", Number, nullable=False, server_default="0"),
    Column("last_sequence", Number, nullable=False, server_default="0"),
    Column("rejected", Word, nullable=False, server_default=""),
    Column("journals", Number, nullable=False, server_default="0"),
    Column("told_zone", String(64)),
    postgresql_with={"fillfactor": 70},
)
"""`told_zone`: the time zone that the device named last. That a report names it again is seen here:
`edge_devices` is read only where there is something to tell of a device."""

component_versions = Table(
    "component_versions",
    metadata,
    Column("id", Number, primary_key=True),
    Column("component", Slug, nullable=False),
    Column("version", Version, nullable=False),
    Column("version_key", bytewise(400), nullable=False),
    UniqueConstraint("component", "version"),
)

device_components = Table(
    "device_components",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("component", Slug, primary_key=True),
    Column("version_id", Number, ForeignKey("component_versions.id")),
    Column("sha256", Digest),
    Column("rollback_index", Number, nullable=False, server_default="0"),
    Column("pin_version", Version),
    Column("pin_sha256", Digest),
    Column("pin_revision", Digest),
    Column("pinned_by", String(255)),
    Column("known_bad", Digest),
    Column("reported_at", Number),
    Index(None, "version_id", "device_seq"),
    Index(None, "component", "sha256"),
    sqlite_with_rowid=False,
)

filters = Table(
    "filters",
    metadata,
    Column("id", Number, primary_key=True),
    Column("digest", Digest, nullable=False, unique=True),
    Column("content", Document, nullable=False),
)

filter_label_sets = Table(
    "filter_label_sets",
    metadata,
    Column("filter_id", Number, ForeignKey("filters.id"), primary_key=True),
    Column("label_set_id", Number, ForeignKey("label_sets.id"), primary_key=True),
    sqlite_with_rowid=False,
)

device_groups = Table(
    "device_groups",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("name", Slug, primary_key=True),
    Column("content", Document, nullable=False),
    sqlite_with_rowid=False,
)

freezes = Table(
    "freezes",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("name", Slug, primary_key=True),
    Column("content", Document, nullable=False),
    sqlite_with_rowid=False,
)
"""The Freezes in force, so that a document is built from the store alone."""
