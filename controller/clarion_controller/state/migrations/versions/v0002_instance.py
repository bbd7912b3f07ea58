"""A host has a number in its cloud."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; hosts that joined before have none."""
    op.add_column("hosts", sa.Column("instance", sa.Text, nullable=False, server_default=""))
    op.create_index(
        "one_instance",
        "hosts",
        ["instance"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL AND instance != ''"),
    )
