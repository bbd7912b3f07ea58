"""Whether a published package is still where hosts would fetch it: asked before they are sent there."""

from __future__ import annotations

from contextlib import suppress

from clarion_controller.cluster import Cluster
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.folder import FolderStore
from clarion_protocol.errors import Blocked, CloudUnavailable
from clarion_protocol.published import Release


def refuse_missing(cluster: Cluster, release: Release) -> None:
    """Return if the package store has `release`, or does not say: then hosts try for longer than we do here.

    Raises:
        Blocked: it has not.
        CloudRefused: it does not let us look, so it would let no host either.
    """
    near = FolderStore(cluster.repository.packages)
    for path in (release.manifest_path, release.path):
        if near.head(path):
            continue
        with suppress(CloudUnavailable):
            if store_of(cluster.fleet.store, cluster.home).head(path) is None:
                raise Blocked(
                    f"{release.app} {release.version} is published, but the package store has no {path}",
                    hint="Run 'clarion publish FILE' with the very package that was published: that puts it back.",
                )
