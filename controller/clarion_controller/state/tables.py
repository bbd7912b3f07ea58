"""The tables of `clarion.db`: `events` is the truth; the others are read quickly, or too big or too secret for it."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint, text

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("deployment", Text),
    Column("body", LargeBinary, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("events_by_deployment", "deployment", "seq"),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("stream", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("accepted_at", Float, nullable=False),
    Column("signal_seq", Integer, nullable=False, server_default=text("0")),
    Column("status", Text, nullable=False),
    UniqueConstraint("stream", "seq"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("sign_key", Text, nullable=False),
    Column("transport_key", Text, nullable=False),
    Column("joined_at", Float, nullable=False),
    Column("revoked_at", Float),
    Column("report_seq", Integer, nullable=False, server_default=text("0")),
    Column("last_seen", Float),
    Column("last_report", LargeBinary),
    Column("instance", Text, nullable=False, server_default=text("''")),
    Index("one_name", "environment", "name", unique=True, sqlite_where=text("revoked_at IS NULL")),
    Index("one_instance", "instance", unique=True, sqlite_where=text("revoked_at IS NULL AND instance != ''")),
    Index("one_transport_key", "transport_key", unique=True),
)

invites = Table(
    "invites",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("name", Text),
    Column("uses_left", Integer, nullable=False),
    Column("expires", Float, nullable=False),
    Column("withdrawn_at", Float),
)

logs = Table(
    "logs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Text, nullable=False),
    Column("stage", Text),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("log", Text, nullable=False),
    Index("logs_by_deployment", "deployment", "host", "id"),
)
