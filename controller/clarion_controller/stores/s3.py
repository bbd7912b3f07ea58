"""Packages in a bucket of S3, or of what speaks its language (MinIO, Ceph, R2).

Source: the S3 API reference, "Conditional writes". One PUT carries a whole package: S3 checks its SHA-256 and that
nothing is there before it stores anything. Requests are signed, so no secret key travels, not even over http.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.keys import Keys, unknown
from clarion_controller.stores.s3_client import open_client
from clarion_controller.stores.s3_trouble import code_of, silent, trouble
from clarion_controller.stores.sending import CHUNK, check, length_of, opened
from clarion_controller.stores.store import Span, Stored
from clarion_protocol.errors import BadConfig, CloudUnavailable

LARGEST_PUT = 5 * 2**30  # bytes; what S3 takes in one piece
LONGEST_TTL = 7 * 24 * 3600  # seconds; what a signature of version 4 may be valid for
_MISSING = {"NoSuchKey", "404", "NotFound"}  # a HEAD has no body, so its errors have only a status
_CONFLICTS = 3


@dataclass(frozen=True)
class S3Store:
    """The objects below `prefix` in one bucket. The client, like all of boto3's, is for any number of threads."""

    config: fleet.S3

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file of at most 5 GiB, or return False if the key is there."""
        full = self._keys.full(key)
        with opened(file) as content:
            _check_length(file, length_of(content))
            check(content, sha256)
            if self.head(key):
                return False
            fields = {
                "Body": content,
                "IfNoneMatch": "*",
                "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
                "ContentType": "application/octet-stream",
            }
            with self._trouble("s3:PutObject"):
                return self._put(full, fields)

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or those of a span within it."""
        full = self._keys.full(key)
        if span and not span.length:
            return
        wanted = {"Range": f"bytes={span.offset}-{span.offset + span.length - 1}"} if span else {}
        with self._trouble("s3:GetObject"):
            body = self._open(key, full, wanted)
            if body is None:
                return
            with body:
                yield from body.iter_chunks(CHUNK)

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None."""
        full = self._keys.full(key)
        with self._trouble("s3:GetObject"):
            client = self._client
            try:
                found = client.head_object(Bucket=self.config.bucket, Key=full)
            except client.exceptions.ClientError as error:
                if code_of(error) in _MISSING:
                    return None
                raise
        return Stored(key, found["ContentLength"])

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what lies under keys that begin with `prefix`, in their order."""
        with self._trouble("s3:ListBucket"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.config.bucket, Prefix=self._keys.prefix + prefix):
                if "Name" not in page:  # an empty answer would pass for an empty bucket
                    raise silent(self.config, "no listing")
                for each in page.get("Contents", ()):
                    if key := self._keys.key_of(each["Key"]):
                        yield Stored(key, each["Size"])

    def delete(self, key: str) -> None:
        """Remove an object; harmless if there is none."""
        full = self._keys.full(key)
        with self._trouble("s3:DeleteObject"):
            self._client.delete_object(Bucket=self.config.bucket, Key=full)

    def presign(self, key: str, ttl: float) -> str | None:
        """Return an address that is good for `ttl` seconds: at most a week, and no longer than the credentials are."""
        wanted = {"Bucket": self.config.bucket, "Key": self._keys.full(key)}
        with self._trouble("s3:GetObject"):
            return str(self._client.generate_presigned_url("get_object", wanted, ExpiresIn=min(int(ttl), LONGEST_TTL)))

    @cached_property
    def _keys(self) -> Keys:
        return Keys.below(self.config.prefix)

    @cached_property
    def _client(self) -> Any:
        return open_client(self.config)

    def _put(self, full: str, fields: dict[str, Any]) -> bool:
        for _ in range(_CONFLICTS):
            is_stored = self._try_to_put(full, fields)
            if is_stored is not None:
                return is_stored
        raise CloudUnavailable(f"{full}: others put it again and again", hint="Publish again in a moment.")

    def _try_to_put(self, full: str, fields: dict[str, Any]) -> bool | None:
        """Return whether the object is ours, or None if somebody else puts the same key right now."""
        client = self._client
        fields["Body"].seek(0)
        try:
            client.put_object(Bucket=self.config.bucket, Key=full, **fields)
        except client.exceptions.ClientError as error:
            if code_of(error) in ("PreconditionFailed", "412"):
                return False
            if code_of(error) == "ConditionalRequestConflict":
                return None
            raise
        return True

    def _open(self, key: str, full: str, wanted: dict[str, str]) -> Any:
        """Return the body of an answer, or None if the span begins behind the object's end."""
        client = self._client
        try:
            answer = client.get_object(Bucket=self.config.bucket, Key=full, **wanted)
        except client.exceptions.ClientError as error:
            if code_of(error) in ("InvalidRange", "416"):
                return None
            if code_of(error) in _MISSING:
                raise unknown(key) from error
            raise
        if wanted and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            answer["Body"].close()
            raise silent(self.config, "a whole object instead of a range")
        return answer["Body"]

    def _trouble(self, permission: str) -> Any:
        return trouble(self.config, permission)


def _check_length(file: Path, length: int) -> None:
    if length > LARGEST_PUT:
        raise BadConfig(
            f"{file} is {length / 2**30:.1f} GiB long; S3 takes at most 5 GiB in one piece",
            hint="Leave something out of the package, or keep packages in the controller's folder.",
        )
