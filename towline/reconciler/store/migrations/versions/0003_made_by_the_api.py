"""Deployments made by the API: those that wait for their merge, and answers to repeated calls."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql")
    op.create_table(
        "merge_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("branch", sa.String(length=255), nullable=False),
        sa.Column("compare", sa.Text(), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.Column("metadata", document, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge_requests")),
    )
    op.create_index(
        op.f("ix_merge_requests_organization_name"),
        "merge_requests",
        ["organization", "name"],
        unique=False,
    )
    op.create_table(
        "answers",
        sa.Column("organization", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", document, nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.PrimaryKeyConstraint("organization", "key", name=op.f("pk_answers")),
        sqlite_with_rowid=False,
    )
