"""Packages in a container of Azure Blob Storage.

Source: the REST reference, "Put Block List". A blob goes in blocks under ids of this one put, each checked by its
MD5, while we hash what we send; only the list of them makes a blob, and only if none is there.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.azure_signing import Signer, account_key, credential, is_encrypted, url_of
from clarion_controller.stores.azure_trouble import code_of, trouble
from clarion_controller.stores.keys import Keys, unknown
from clarion_controller.stores.sdk import load
from clarion_controller.stores.sending import check, hashed, opened
from clarion_controller.stores.store import Span, Stored
from clarion_protocol.errors import BadConfig

PIECE = 4 * 2**20  # bytes in memory; 50,000 blocks of them, which is all a blob may have, are 195 GiB
# Somebody else was first; then our blocks that were waiting for their list are gone, too.
_TAKEN = {"BlobAlreadyExists", "ConditionNotMet", "InvalidBlockList"}


@dataclass(frozen=True)
class AzureStore:
    """The objects below `prefix` in one container."""

    config: fleet.AzureBlob

    def put_if_absent(self, key: str, file: Path, sha256: str) -> bool:
        """Store a file, or return False if the key is there."""
        full = self._keys.full(key)
        with opened(file) as content:
            if self.head(key):
                check(content, sha256)
                return False
            with self._trouble("write"):
                return self._commit(key, full, self._stage(full, content, sha256))

    def get(self, key: str, span: Span | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, or those of a span within it."""
        full = self._keys.full(key)
        if span and not span.length:
            return
        offset, length = (span.offset, span.length) if span else (None, None)
        with self._trouble("read"):
            try:
                answer = self._container.download_blob(full, offset=offset, length=length)
            except _errors().HttpResponseError as error:
                if code_of(error) == "InvalidRange":
                    return
                if code_of(error) == "BlobNotFound":
                    raise unknown(key) from error
                raise
            yield from answer.chunks()

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None."""
        full = self._keys.full(key)
        with self._trouble("read"):
            try:
                found = self._container.get_blob_client(full).get_blob_properties()
            except _errors().ResourceNotFoundError as error:
                if code_of(error) == "ContainerNotFound":
                    raise
                return None
        return Stored(key, found.size)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what lies under keys that begin with `prefix`, in their order."""
        with self._trouble("read"):
            for blob in self._container.list_blobs(name_starts_with=self._keys.prefix + prefix):
                if key := self._keys.key_of(blob.name):
                    yield Stored(key, blob.size)

    def delete(self, key: str) -> None:
        """Remove an object; harmless if there is none."""
        full = self._keys.full(key)
        with self._trouble("delete"):
            try:
                self._container.delete_blob(full)
            except _errors().ResourceNotFoundError as error:
                if code_of(error) == "ContainerNotFound":
                    raise

    def presign(self, key: str, ttl: float) -> str | None:
        """Return an address that is good for `ttl` seconds; None at an http endpoint without the account's key."""
        full = self._keys.full(key)
        with self._trouble("generateUserDelegationKey"):
            if not is_encrypted(self.config) and account_key(self.config) is None:
                return None
            return f"{self._container.get_blob_client(full).url}?{self._signer.sign(full, ttl)}"

    @cached_property
    def _keys(self) -> Keys:
        return Keys.below(self.config.prefix)

    @cached_property
    def _service(self) -> Any:
        sdk, access = load("azure.storage.blob", "azure"), credential(self.config)
        try:
            return sdk.BlobServiceClient(
                url_of(self.config),
                credential=access,
                connection_timeout=5,
                read_timeout=60,
                retry_policy=sdk.LinearRetry(backoff=1, retry_total=2, random_jitter_range=0.5),
                max_single_get_size=PIECE,
                max_chunk_get_size=PIECE,
            )
        except ValueError as error:
            raise BadConfig(f"[store.azure] cannot be used: {error}", hint="Correct account or endpoint.") from error

    @cached_property
    def _container(self) -> Any:
        return self._service.get_container_client(self.config.container)

    @cached_property
    def _signer(self) -> Signer:
        return Signer(self.config, self._service)

    def _stage(self, full: str, content: BinaryIO, sha256: str) -> Sequence[Any]:
        """Send the file's blocks, which nobody sees yet, and return the list of them."""
        client, put = self._container.get_blob_client(full), secrets.token_hex(8)
        blocks = []
        for place, data in enumerate(hashed(content, sha256, PIECE)):
            block = base64.b64encode(f"{put}-{place:06}".encode()).decode()
            client.stage_block(block, data, length=len(data), validate_content=True)
            blocks.append(load("azure.storage.blob", "azure").BlobBlock(block))
        return blocks

    def _commit(self, key: str, full: str, blocks: Sequence[Any]) -> bool:
        try:
            self._container.get_blob_client(full).commit_block_list(
                blocks, match_condition=load("azure.core", "azure").MatchConditions.IfMissing
            )
        except _errors().HttpResponseError as error:
            if code_of(error) in _TAKEN and self.head(key):
                return False
            raise
        return True

    def _trouble(self, action: str) -> AbstractContextManager[None]:
        return trouble(self.config, action)


def _errors() -> Any:
    return load("azure.core.exceptions", "azure")
