"""The tables of `notices.db`: how far the log was read and what is known, what is on its way, who knows of what."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text, text

VERSION = 1

metadata = MetaData()

# One row: with what was read, the same transaction keeps what follows from it.
standing = Table(
    "standing",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cursor", Integer, nullable=False),
    Column("known", LargeBinary, nullable=False),
    Column("forges", LargeBinary, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("destination", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", Float, nullable=False, server_default=text("0")),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("ended_at", Float),
    Index("outbox_by_destination", "destination", "status", "id"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("incident", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("opened_at", Float, nullable=False),
)

# What a forge answered about a deployment: its own number of it.
remembered = Table(
    "remembered",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("said", Text, nullable=False),
    Column("at", Float, nullable=False),
)
