"""One build: what was pushed, where it stands, and what the builder is given of it."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import msgspec

from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.fleet_toml.table import Secret
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.errors import OperatorError
from clarion_protocol.toml_file import read_amount
from clarion_protocol.words import is_version

# Below the home, in a folder of its own: a builder that is let in there reaches no other socket.
BUILDER_SOCKET = Path("run/builder/sock")
BRANCHES, TAGS = "refs/heads/", "refs/tags/"
SHORT = 12  # digits of a commit that are a version
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

    `delivery` is the forge's number for this announcement, `digest` what it signed where that is never the same
    twice: neither counts a second time. `before` is what `ref` was until then, where the forge says so. With
    `is_looked_up`, the remote itself said so just now.
    """

    repository: str
    ref: str
    commit: str
    delivery: str
    digest: str = ""
    before: str = ""
    by: str = ""
    at: float
    is_looked_up: bool = False


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build; `number` rises with each, `version` is known once it was checked out, times are UTC seconds.

    One that succeeded and could not be deployed yet waits for the environment `waits_for`.
    """

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
    waits_for: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the builder is given: a build, its repository's limits, and what opens an https remote.

    `id` is the build's, and behind it what only the builder knows that took it: its right to speak of it.
    """

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


def version_of(ref: str, commit: str) -> str:
    """Return the version that a build of `ref` has.

    Raises:
        OperatorError: the tag is no version.
    """
    tag = ref[len(TAGS) :] if ref.startswith(TAGS) else ""
    version = re.sub(r"\Av(?=[0-9])", "", tag) or commit[:SHORT]
    if not is_version(version):
        raise OperatorError(f"the tag {tag[:80]!r} is no version", hint="Push another, like v1.2.0.")
    return version


def write_job(job: Job) -> bytes:
    """Return the job in JSON, amounts written as people write them."""
    return msgspec.json.encode(msgspec.structs.asdict(job) | {"repository": _plain(job.repository)})


def read_job(raw: bytes) -> Job:
    """Return the job that `write_job` wrote.

    Raises:
        msgspec.ValidationError: this is none.
    """
    return msgspec.json.decode(raw, type=Job, dec_hook=read_amount)


def _plain(repository: Repository) -> dict[str, object]:
    return {name: _written(value) for name, value in msgspec.structs.asdict(repository).items()}


def _written(value: object) -> object:
    if isinstance(value, Size):
        return f"{int(value)}B"
    if isinstance(value, Duration):
        return f"{float(value):f}s"
    return str(value) if isinstance(value, Secret) else value
