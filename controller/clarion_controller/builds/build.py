"""One build: what was pushed, where it stands, and what the builder is given of it."""

from __future__ import annotations

from enum import Enum

import msgspec

from clarion_controller.repositories import Repository

COMMIT = r"^[0-9a-f]{40}([0-9a-f]{24})?\Z"  # SHA-1 or SHA-256


class BuildStatus(str, Enum):
    """Where a build stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHING = "publishing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the build is over."""
        return self not in (BuildStatus.QUEUED, BuildStatus.RUNNING, BuildStatus.PUBLISHING)


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody pushed `commit` to `ref` ("refs/heads/main") of a repository of fleet.toml; `at` in UTC seconds.

    `delivery` is the forge's number for this announcement; the same one never counts twice.
    """

    repository: str
    ref: str
    commit: str
    delivery: str
    by: str = ""
    at: float


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build; `number` rises with each, `version` is known once it was checked out, times are UTC seconds."""

    id: str
    number: int
    repository: str
    app: str
    ref: str
    commit: str
    status: BuildStatus
    reason: str = ""
    version: str = ""
    by: str = ""
    queued_at: float
    started_at: float | None = None
    finished_at: float | None = None
    deployed_to: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the builder is given: a build, its repository's limits, and what opens an https remote."""

    id: str
    app: str
    ref: str
    commit: str
    repository: Repository
    credential: str = ""


class Finished(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the builder says at the end; without `failure`, package and manifest were handed over before."""

    version: str = ""
    failure: str = ""
