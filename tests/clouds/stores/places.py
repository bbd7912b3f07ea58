"""Where packages lie in tests: how to open a store there, and what the double behind it does not do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import urllib3
from tests.clouds.azurite import ACCOUNT

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.store import Store

BUCKET = "acme-packages"
NOWHERE = Path("/nowhere")


class Place(Protocol):
    """Somewhere a store can be opened, also at a wrong endpoint or in a wrong bucket."""

    @property
    def url(self) -> str:
        """Where it is; "" for a folder."""

    @property
    def has_addresses(self) -> bool:
        """Whether `presign` has any here."""

    @property
    def keeps_addresses(self) -> bool:
        """Whether the double checks who signed an address, for what and for how long."""

    def table(self, **wrong: str) -> fleet.Store:
        """Return what `[store]` says."""

    def open(self, **wrong: str) -> Store:
        """Return a store that is not used by anybody else."""


@dataclass(frozen=True)
class FolderPlace:
    """The folder of a home."""

    home: Path
    url = ""
    has_addresses = False
    keeps_addresses = False

    def table(self, **wrong: str) -> fleet.Store:
        """Return an empty table."""
        assert not wrong
        return fleet.Store()

    def open(self, **wrong: str) -> Store:
        """Return the home's own store."""
        return store_of(self.table(**wrong), self.home)


@dataclass(frozen=True)
class S3Place:
    """A bucket of moto, which lets anybody in: it looks at no signature, nor at how long an address is good."""

    url: str
    prefix: str = "clarion/packages"
    has_addresses = True
    keeps_addresses = False

    def table(self, **wrong: str) -> fleet.Store:
        """Return [store.s3]."""
        return fleet.Store(s3=fleet.S3(**{"bucket": BUCKET, "endpoint": self.url, "prefix": self.prefix, **wrong}))

    def open(self, **wrong: str) -> Store:
        """Return a store in the bucket."""
        return store_of(self.table(**wrong), NOWHERE)

    def client(self) -> Any:
        """Return boto3's own client."""
        import boto3  # noqa: PLC0415

        return boto3.client("s3", endpoint_url=self.url)

    def make_bucket(self) -> None:
        """Make the bucket."""
        where = {"LocationConstraint": "eu-west-1"}
        self.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)


@dataclass(frozen=True)
class GcsPlace:
    """A bucket of fake-gcs-server, at an http endpoint: nobody signs in, and so nobody signs addresses."""

    url: str
    prefix: str = ""
    has_addresses = False
    keeps_addresses = False

    def table(self, **wrong: str) -> fleet.Store:
        """Return [store.gcs]."""
        return fleet.Store(gcs=fleet.Gcs(**{"bucket": BUCKET, "endpoint": self.url, "prefix": self.prefix, **wrong}))

    def open(self, **wrong: str) -> Store:
        """Return a store in the bucket."""
        return store_of(self.table(**wrong), NOWHERE)

    def make_bucket(self) -> None:
        """Make the bucket."""
        answer = urllib3.request("POST", f"{self.url}/storage/v1/b?project=p", json={"name": BUCKET}, timeout=10)
        assert answer.status == 200


@dataclass(frozen=True)
class AzurePlace:
    """A container of azurite, which checks signatures as Azure does."""

    url: str
    prefix: str = ""
    has_addresses = True
    keeps_addresses = True

    def table(self, **wrong: str) -> fleet.Store:
        """Return [store.azure]."""
        renamed = {"container" if name == "bucket" else name: value for name, value in wrong.items()}
        if endpoint := renamed.get("endpoint"):
            renamed["endpoint"] = f"{endpoint}/{ACCOUNT}"
        right = {"account": ACCOUNT, "container": BUCKET, "endpoint": self.url, "prefix": self.prefix}
        return fleet.Store(azure=fleet.AzureBlob(**{**right, **renamed}))

    def open(self, **wrong: str) -> Store:
        """Return a store in the container."""
        return store_of(self.table(**wrong), NOWHERE)


def put(store: Store, key: str, content: bytes, folder: Path) -> bool:
    """Put bytes, by way of a file in `folder`."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = folder / f"upload-{sha256}"
    file.write_bytes(content)
    return store.put_if_absent(key, file, sha256)
