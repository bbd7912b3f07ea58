"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_index("events_by_deployment", "events", ["deployment", "seq"])
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("envelope", sa.LargeBinary, nullable=False),
        sa.Column("accepted_at", sa.Float, nullable=False),
        sa.Column("signal_seq", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("status", sa.Text, nullable=False),
        sa.UniqueConstraint("stream", "seq"),
    )
    op.create_table(
        "hosts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("sign_key", sa.Text, nullable=False),
        sa.Column("transport_key", sa.Text, nullable=False),
        sa.Column("joined_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
        sa.Column("report_seq", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("last_seen", sa.Float),
        sa.Column("last_report", sa.LargeBinary),
    )
    op.create_index(
        "one_name", "hosts", ["environment", "name"], unique=True, sqlite_where=sa.text("revoked_at IS NULL")
    )
    op.create_index("one_transport_key", "hosts", ["transport_key"], unique=True)
    op.create_table(
        "invites",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("uses_left", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_table(
        "logs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("deployment", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("stage", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
    )
    op.create_index("logs_by_deployment", "logs", ["deployment", "host", "id"])
