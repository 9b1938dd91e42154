"""Tables of old devices: those that ask the contract's two calls and verify no signature."""

from sqlalchemy import Column, ForeignKey, String, Table

from towline.reconciler.store.columns import Digest, Number, Slug, metadata

device_tokens = Table(
    "device_tokens",
    metadata,
    Column("device_seq", Number, ForeignKey("edge_devices.seq"), primary_key=True),
    Column("digest", Digest, nullable=False, unique=True),
    Column("author", String(255), nullable=False),
    Column("created_at", Number, nullable=False),
)
"""One token per old device; its row holds the SHA-256."""

old_device_leaves = Table(
    "old_device_leaves",
    metadata,
    Column("organization", Slug, primary_key=True),
    Column("author", String(255), nullable=False),
    Column("since", Number, nullable=False),
)
"""The organizations that let old devices in; without a row none of their tokens is good."""
