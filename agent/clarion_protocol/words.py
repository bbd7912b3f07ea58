"""The words both sides use: stages, statuses, verbs, exit codes and the shape of names."""

from __future__ import annotations

import re
import secrets
from enum import Enum, IntEnum


class Stage(str, Enum):
    """What a host does in a deployment, in order."""

    PULL = "pull"
    VERIFY = "verify"
    UNPACK = "unpack"
    TEST = "test"
    DRAIN = "drain"
    ACTIVATE = "activate"
    RESTART = "restart"
    CHECK = "check"
    READY = "ready"
    BAKE = "bake"
    COMMIT = "commit"


class HostStatus(str, Enum):
    """Where a host stands in a deployment."""

    PENDING = "pending"
    PULLING = "pulling"
    VERIFYING = "verifying"
    TESTING = "testing"
    STAGED = "staged"
    DRAINING = "draining"
    ACTIVATING = "activating"
    CHECKING = "checking"
    BAKING = "baking"
    COMMITTED = "committed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
    UNREACHABLE = "unreachable"
    DRIFTED = "drifted"

    @property
    def is_in_change(self) -> bool:
        """Whether the host is between taking its lease and settling."""
        return self in _IN_CHANGE

    @property
    def is_final(self) -> bool:
        """Whether the host has settled, well or badly."""
        return self in _FINAL


_IN_CHANGE = {HostStatus.DRAINING, HostStatus.ACTIVATING, HostStatus.CHECKING, HostStatus.BAKING}
_FINAL = {HostStatus.COMMITTED, HostStatus.FAILED, HostStatus.ROLLED_BACK, HostStatus.SKIPPED}


class DeploymentStatus(str, Enum):
    """Where a deployment stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    BAKING = "baking"
    SUCCEEDED = "succeeded"
    DEGRADED = "degraded"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"

    @property
    def is_final(self) -> bool:
        """Whether the deployment is over."""
        return self in _OVER


_OVER = {
    DeploymentStatus.SUCCEEDED,
    DeploymentStatus.DEGRADED,
    DeploymentStatus.FAILED,
    DeploymentStatus.ROLLED_BACK,
    DeploymentStatus.ABORTED,
    DeploymentStatus.SUPERSEDED,
}


class Verb(str, Enum):
    """What a signal orders, always inside a deployment that deployers signed."""

    STAGE = "stage"
    LEASE = "lease"
    PAUSE = "pause"
    ABORT = "abort"
    ROLLBACK = "rollback"


class Intent(str, Enum):
    """Why a deployment was signed."""

    INSTALL = "install"
    ROLLBACK = "rollback"


class Strategy(str, Enum):
    """How hosts take turns."""

    ALL_AT_ONCE = "all_at_once"
    ROLLING = "rolling"


class Joiners(str, Enum):
    """What a host gets that appears while a rollout is under way; when it has succeeded, all get its release."""

    NEW = "new"
    OLD = "old"
    WAIT = "wait"


class ExitCode(IntEnum):
    """What the command line returns."""

    COMMITTED = 0
    FAILED = 1
    USAGE = 2
    DEGRADED = 3
    ROLLED_BACK = 4
    BLOCKED = 5
    TIMED_OUT = 124


NAME = r"^[a-z0-9][a-z0-9._-]{0,62}\Z"
VERSION = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z"
ID = r"^[0-9a-f]{32}\Z"
SHA256 = r"^[0-9a-f]{64}\Z"
# A server as its cloud numbers it: EC2's instance id, Compute Engine's numeric id, Azure's vmId.
INSTANCE = r"^(?:aws:i-[0-9a-f]{8,32}|gcp:[0-9]{1,20}|azure:[0-9a-f-]{36})\Z"
STREAM = r"^[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}\Z"


def is_name(text: str) -> bool:
    """Return whether `text` may name an app, environment, group or host."""
    return re.fullmatch(NAME, text) is not None


def is_instance(text: str) -> bool:
    """Return whether `text` names a server as its cloud numbers it, such as "aws:i-0abc1234"."""
    return re.fullmatch(INSTANCE, text) is not None


def is_version(text: str) -> bool:
    """Return whether `text` may be a version."""
    return re.fullmatch(VERSION, text) is not None


def new_id() -> str:
    """Return a new random 128 bit id in hex; ids are never used twice."""
    return secrets.token_hex(16)


def stream_of(environment: str, app: str) -> str:
    """Return the stream in which deployments of `app` to `environment` are counted."""
    return f"{environment}/{app}"


def release_id(release: int, version: str) -> str:
    """Return the folder name of an unpacked release."""
    return f"{release}-{version}"
