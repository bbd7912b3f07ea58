"""The tables of `builds.db`, and between their rows and values; nothing here decides."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Float, Index, Integer, MetaData, Row, Table, Text, text

from clarion_controller.builds.build import Build, BuildStatus

VERSION = 2
metadata = MetaData()

builds = Table(
    "builds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("repository", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("commit", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("version", Text, nullable=False, server_default=text("''")),
    Column("by", Text, nullable=False, server_default=text("''")),
    Column("queued_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("deployed_to", Text, nullable=False, server_default=text("''")),
    Column("waits_for", Text, nullable=False, server_default=text("''")),
    # What only the builder knows that took it, how often one did, and how far the record knows of it.
    Column("taken_as", Text, nullable=False, server_default=text("''")),
    Column("takes", Integer, nullable=False, server_default=text("0")),
    Column("told", Integer, nullable=False, server_default=text("0")),
    Index("builds_by_status", "status", "number"),
    Index("builds_by_ref", "repository", "ref", "status"),
    sqlite_autoincrement=True,
)

# A number of an announcement that was believed, or the digest of one; never both builds again.
deliveries = Table(
    "deliveries",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    Index("one_delivery", "repository", "delivery", unique=True),
    sqlite_autoincrement=True,
)

# What `ref` became, and what it was before as far as that was said: in the order in which it was announced.
pushes = Table(
    "pushes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("commit", Text, nullable=False),
    Column("before", Text, nullable=False, server_default=text("''")),
    Index("pushes_by_ref", "repository", "ref", "number"),
    sqlite_autoincrement=True,
)

UPGRADES = {
    1: (
        "ALTER TABLE builds ADD COLUMN waits_for TEXT DEFAULT '' NOT NULL",
        "CREATE TABLE pushes (number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL,"
        " ref TEXT NOT NULL, \"commit\" TEXT NOT NULL, before TEXT DEFAULT '' NOT NULL)",
        "CREATE INDEX pushes_by_ref ON pushes (repository, ref, number)",
        # builds.before stays where it was: the SQLite of RHEL 9 drops no column.
        'INSERT INTO pushes (repository, ref, "commit", before)'
        ' SELECT repository, ref, "commit", before FROM builds ORDER BY number',
    )
}

SHOWN = [builds.c[name] for name in Build.__struct_fields__]


def build_in(row: Row[Any]) -> Build:
    """Return the build in a row that begins with `SHOWN`."""
    values = dict(zip(Build.__struct_fields__, row, strict=False))
    return Build(**{**values, "status": BuildStatus(values["status"])})
