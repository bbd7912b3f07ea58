"""The signed envelopes that this host has acted on: the proof of why it did, and what it resumes from."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from clarion_agent import durable
from clarion_protocol import dsse
from clarion_protocol.documents import Deployment, Signal, kind_of, read
from clarion_protocol.errors import BadEnvelope, ClarionError

KEPT = 64


@dataclass(frozen=True)
class Envelopes:
    """A folder of envelopes, each named by the SHA-256 of its payload."""

    folder: Path

    def save(self, digest: str, envelope: bytes) -> None:
        """Keep `envelope`."""
        durable.make_folder(self.folder, mode=0o700)
        durable.write_atomic(self._path(digest), envelope)

    def read(self, digest: str) -> bytes:
        """Return the envelope with this digest; empty if it is not here, which nobody believes."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return b""

    def deployment(self, digest: str) -> Deployment | None:
        """Return the deployment with this digest, or None if it is not here whole.

        Its signatures were checked when it was accepted, and the digest is the floor's.
        """
        try:
            payload = payload_of(self.read(digest))
            return read(payload, Deployment) if dsse.digest(payload) == digest else None
        except ClarionError:
            return None

    def prune(self, needed: Collection[str]) -> None:
        """Remove the oldest beyond `KEPT`, but none whose digest is `needed`."""
        kept = [path for path in self.folder.glob("*.json") if path.stem not in needed]
        by_age = sorted(kept, key=lambda path: path.stat().st_mtime_ns)
        for path in by_age[: max(len(kept) - KEPT, 0)]:
            durable.remove_file(path)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def payload_of(envelope: bytes) -> bytes:
    """Return the payload of an envelope, of which nothing is verified.

    Raises:
        BadEnvelope: it has none.
    """
    try:
        return base64.b64decode(dsse.parse(envelope).payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope(f"not base64: {error}") from error


def stream_named_in(envelope: bytes) -> str:
    """Return the stream that an unverified deployment or signal names: only to find what to compare it with.

    Raises:
        BadEnvelope: it is neither.
    """
    kind = kind_of(dsse.parse(envelope).payloadType)
    if kind not in (Deployment, Signal):
        raise BadEnvelope("only deployments and signals belong to a stream")
    document = read(payload_of(envelope), kind)
    return document.stream if isinstance(document, (Deployment, Signal)) else ""
