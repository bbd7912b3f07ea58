"""Which package store fleet.toml asks for."""

from __future__ import annotations

from pathlib import Path

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.azure import AzureStore
from clarion_controller.stores.folder import FolderStore
from clarion_controller.stores.gcs import GcsStore
from clarion_controller.stores.keys import Keys
from clarion_controller.stores.s3 import S3Store
from clarion_controller.stores.store import Store
from clarion_protocol.errors import BadConfig


def store_of(store: fleet.Store, home: Path) -> Store:
    """Return the store that `[store]` names, or the folder below `home`.

    No bucket is asked before it is needed, and none of the clouds' SDKs is loaded.

    Raises:
        BadConfig: it names several, or a prefix that cannot be one.
    """
    buckets = {"s3": store.s3, "gcs": store.gcs, "azure": store.azure}
    named = {key: bucket for key, bucket in buckets.items() if bucket is not None}
    if len(named) > 1:
        raise BadConfig(f"[store] names {' and '.join(named)}", hint="Packages lie in one place; leave one of them.")
    for bucket in named.values():
        Keys.below(bucket.prefix)
    if store.s3 is not None:
        return S3Store(store.s3)
    if store.gcs is not None:
        return GcsStore(store.gcs)
    if store.azure is not None:
        return AzureStore(store.azure)
    return FolderStore(home / "store" / "packages")
