"""Packages in a bucket of Google Cloud Storage.

Source: the Cloud Storage JSON API. An object is stored only if none of that name is there (generation 0) and its
CRC32C is what was sent with it; it goes in pieces, and is there only with the last of them.
An `http://` endpoint is asked without credentials, which would travel in plain text, and has no signed addresses.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.gcs_signing import own_credentials, signing
from clarion_controller.stores.gcs_trouble import trouble
from clarion_controller.stores.keys import Keys, unknown
from clarion_controller.stores.sdk import load
from clarion_controller.stores.sending import hashed, length_of, opened
from clarion_controller.stores.store import Span, Stored

PIECE = 4 * 2**20  # bytes in memory, and on their way in one request
LONGEST_TTL = 7 * 24 * 3600  # seconds; what a signature of version 4 may be valid for
_TIMEOUT = (5, 60)  # seconds to connect, and to wait for bytes
_RETRY_S = 5


@dataclass(frozen=True)
class GcsStore:
    """The objects below `prefix` in one bucket."""

    config: fleet.Gcs

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file, or return False if the key is there."""
        full = self._keys.full(key)
        with opened(file) as content, self._trouble("storage.objects.create"):
            crc32c = load("google_crc32c", "gcp").Checksum()
            for data in hashed(content, sha256):
                crc32c.update(data)
            if self.head(key):
                return False
            blob = self._bucket.blob(full, chunk_size=PIECE)
            blob.crc32c = base64.b64encode(crc32c.digest()).decode()
            try:
                blob.upload_from_file(
                    content,
                    rewind=True,
                    size=length_of(content),
                    if_generation_match=0,
                    checksum=None,
                    **self._patience,
                )
            except _errors().PreconditionFailed:
                return False
        return True

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or those of a span within it."""
        full = self._keys.full(key)
        offset, end = (span.offset, span.offset + span.length) if span else (0, None)
        with self._trouble("storage.objects.get"):
            while end is None or offset < end:
                wanted = PIECE if end is None else min(PIECE, end - offset)
                data = self._piece(key, full, Span(offset, wanted))
                if data:
                    yield data
                if len(data) < wanted:
                    return
                offset += wanted

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None."""
        full = self._keys.full(key)
        with self._trouble("storage.objects.get"):
            blob = self._bucket.get_blob(full, **self._patience)
        if blob is None:
            self._check_bucket()
            return None
        return Stored(key, blob.size)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what lies under keys that begin with `prefix`, in their order."""
        with self._trouble("storage.objects.list"):
            for blob in self._bucket.list_blobs(
                prefix=self._keys.prefix + prefix, fields="items(name,size),nextPageToken", **self._patience
            ):
                if key := self._keys.key_of(blob.name):
                    yield Stored(key, blob.size)

    def delete(self, key: str) -> None:
        """Remove an object; harmless if there is none."""
        full = self._keys.full(key)
        with self._trouble("storage.objects.delete"):
            try:
                self._bucket.blob(full).delete(**self._patience)
            except _errors().NotFound:
                self._check_bucket()

    def presign(self, key: str, ttl: float) -> str | None:
        """Return an address that is good for `ttl` seconds, at most a week; None at an endpoint without credentials."""
        full = self._keys.full(key)
        with self._trouble("iam.serviceAccounts.signBlob"):
            if self._is_anonymous:
                return None
            return str(
                self._bucket.blob(full).generate_signed_url(
                    version="v4",
                    expiration=timedelta(seconds=min(int(ttl), LONGEST_TTL)),
                    credentials=signing(self._credentials),
                )
            )

    @cached_property
    def _keys(self) -> Keys:
        return Keys.below(self.config.prefix)

    @property
    def _is_anonymous(self) -> bool:
        return self.config.endpoint.startswith("http://")

    @cached_property
    def _credentials(self) -> Any:
        return (
            load("google.auth.credentials", "gcp").AnonymousCredentials() if self._is_anonymous else own_credentials()
        )

    @cached_property
    def _bucket(self) -> Any:
        storage, options = load("google.cloud.storage", "gcp"), {"api_endpoint": self.config.endpoint or None}
        client = storage.Client(project=None, credentials=self._credentials, client_options=options)
        return client.bucket(self.config.bucket)

    @cached_property
    def _patience(self) -> dict[str, Any]:
        """How long each request may take, and for how long it is tried again."""
        retry = load("google.cloud.storage.retry", "gcp").DEFAULT_RETRY
        return {
            "timeout": _TIMEOUT,
            "retry": retry.with_delay(initial=0.3, maximum=3.0, multiplier=2.0).with_timeout(_RETRY_S),
        }

    def _piece(self, key: str, full: str, span: Span) -> bytes:
        """Return the bytes of a span, fewer at the object's end, none behind it."""
        try:
            data: bytes = self._bucket.blob(full).download_as_bytes(
                start=span.offset, end=span.offset + span.length - 1, raw_download=True, checksum=None, **self._patience
            )
        except _errors().RequestRangeNotSatisfiable:
            return b""
        except _errors().NotFound as error:
            self._check_bucket()
            raise unknown(key) from error
        return data

    def _check_bucket(self) -> None:
        """Tell a bucket that is not there from an object that is not: of one object, Google says 404 either way.

        Raises:
            BadConfig: there is no such bucket.
        """
        with self._trouble("storage.objects.list"):
            next(iter(self._bucket.list_blobs(max_results=1, fields="items(name)", **self._patience)), None)

    def _trouble(self, permission: str) -> AbstractContextManager[None]:
        return trouble(self.config.bucket, permission)


def _errors() -> Any:
    return load("google.api_core.exceptions", "gcp")
