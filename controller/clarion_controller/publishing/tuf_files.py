"""The metadata files of a TUF repository: reading them verified, writing them durably, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from clarion_controller.durable_files import write_file
from clarion_protocol.errors import BadConfig, Blocked

LOCK_WAIT_S = 15.0
KEEP_VERSIONS = 10

_VERSIONED = re.compile(r"([1-9][0-9]{0,9})\.([a-z0-9][a-z0-9._-]*)\.json\Z")


@dataclass(frozen=True)
class Current:
    """The metadata in force, each signature and hash checked from the root down."""

    files: MetadataFiles
    root: Metadata[Root]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]

    def roles(self) -> list[str]:
        """Return the names of the roles below targets."""
        delegations = self.targets.signed.delegations
        return sorted(delegations.roles or {}) if delegations else []

    def metadata(self, role: str) -> Metadata[Any]:
        """Return any role.

        Raises:
            BadConfig: it is damaged, or not signed by the key that it should be.
        """
        top: dict[str, Metadata[Any]] = {
            Root.type: self.root,
            Targets.type: self.targets,
            Snapshot.type: self.snapshot,
            Timestamp.type: self.timestamp,
        }
        return top[role] if role in top else self.role(role)

    def role(self, name: str) -> Metadata[Targets]:
        """Return a role below targets.

        Raises:
            BadConfig: it is damaged, or not signed by the key that targets names for it.
        """
        with _damage(self.files.path):
            raw = self.files.named(name, self.snapshot.signed.meta[f"{name}.json"])
            role: Metadata[Targets] = Metadata.from_bytes(raw)
            self.targets.signed.verify_delegate(name, role.signed_bytes, role.signatures)
        return role


@dataclass(frozen=True)
class MetadataFiles:
    """The folder `store/metadata`."""

    path: Path

    def exist(self) -> bool:
        """Return whether a repository was made here."""
        return (self.path / "timestamp.json").exists()

    def newest(self, role: str) -> int:
        """Return the highest version of `role` on disk, even one that a crash left behind; 0 if there is none."""
        return max(self._versions(role), default=0)

    def read(self, role: str, version: int | None = None) -> bytes:
        """Return a role's bytes.

        Raises:
            BadConfig: the file cannot be read.
        """
        path = self.path / _file_name(role, version)
        try:
            return path.read_bytes()
        except OSError as error:
            raise BadConfig(
                f"{path} cannot be read: {error.strerror}", hint="Restore the folder 'store' from a backup."
            ) from error

    def named(self, role: str, meta: MetaFile) -> bytes:
        """Return the bytes of `role` that other metadata names by version, length and hash.

        Raises:
            BadConfig: the file cannot be read.
            LengthOrHashMismatchError: it is another.
        """
        raw = self.read(role, meta.version)
        meta.verify_length_and_hashes(raw)
        return raw

    def current(self) -> Current:
        """Return the metadata in force.

        Raises:
            BadConfig: it is damaged, or not signed by the keys that its root names.
        """
        raw_timestamp = self.read(Timestamp.type)
        with _damage(self.path):
            root = Metadata[Root].from_bytes(self.read(Root.type, self.newest(Root.type)))
            root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
            timestamp = self._verified(root, Timestamp.type, raw_timestamp)
            snapshot = self._verified(root, Snapshot.type, self.named(Snapshot.type, timestamp.signed.snapshot_meta))
            targets = self._verified(root, Targets.type, self.named(Targets.type, snapshot.signed.meta["targets.json"]))
            return Current(self, root, timestamp, snapshot, targets)

    def write(self, role: str, metadata: Metadata[Any]) -> bytes:
        """Write a signed role under its version's name, durably, and return its bytes."""
        raw = metadata.to_bytes()
        version = None if role == Timestamp.type else metadata.signed.version
        write_file(self.path / _file_name(role, version), [raw])
        return raw

    def prune(self, role: str) -> None:
        """Remove all but the newest versions of a role; agents in the middle of a refresh may need the last few."""
        for version in sorted(self._versions(role))[:-KEEP_VERSIONS]:
            (self.path / _file_name(role, version)).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other writer out.

        Raises:
            Blocked: another writer does not finish.
        """
        with locked(self.path, LOCK_WAIT_S):
            yield

    def _versions(self, role: str) -> list[int]:
        matches = (_VERSIONED.match(path.name) for path in self.path.iterdir())
        return [int(match[1]) for match in matches if match and match[2] == role]

    @staticmethod
    def _verified(root: Metadata[Root], role: str, raw: bytes) -> Metadata[Any]:
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
        root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        return metadata


@contextmanager
def locked(folder: Path, wait: float) -> Iterator[None]:
    """Hold the lock of a folder, for which others are waited for `wait` seconds.

    Raises:
        Blocked: they do not finish.
    """
    descriptor = os.open(folder / ".lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait_for(descriptor, wait)
        yield
    finally:
        os.close(descriptor)


def _file_name(role: str, version: int | None) -> str:
    return f"{role}.json" if version is None else f"{version}.{role}.json"


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (RepositoryError, ValueError, KeyError) as error:
        raise BadConfig(
            f"the metadata in {path} is damaged, or was changed by somebody else: {error}",
            hint="Restore the folder 'store' from a backup; agents believe none of it as it is.",
        ) from error


def _wait_for(descriptor: int, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            raise Blocked("another publish is under way", hint="Try again when it has finished.")
        time.sleep(0.05)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
