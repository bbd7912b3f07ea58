"""What is published is known at once, and read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stores import Cluster, cluster_in

from clarion_controller.package_store.listed import PublishedKeys
from clarion_controller.publishing.tuf_repository import TufRepository


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """Make a cluster without packages."""
    return cluster_in(tmp_path)


def test_what_is_published_counts_at_once(cluster: Cluster) -> None:
    """The package and its manifest, of each app and version; nothing else."""
    keys = PublishedKeys(cluster.home)
    assert "shop/shop-1.0.0.tar.zst" not in keys
    cluster.publish("1.0.0")
    cluster.publish("2.0.0", app="blog")
    for name in ("shop/shop-1.0.0", "blog/blog-2.0.0"):
        assert f"{name}.tar.zst" in keys
        assert f"{name}.manifest.json.zst" in keys
    assert "shop/shop-2.0.0.tar.zst" not in keys


def test_who_asks_often_costs_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata, whose signatures take time, is read only when it has changed."""
    cluster.publish("1.0.0")
    keys = PublishedKeys(cluster.home)
    assert "shop/shop-1.0.0.tar.zst" in keys
    monkeypatch.delattr(TufRepository, "releases")
    assert "shop/shop-1.0.0.tar.zst" in keys
    assert "shop/shop-3.0.0.tar.zst" not in keys


def test_while_metadata_is_damaged_everything_counts_as_published(cluster: Cluster) -> None:
    """Hosts in the middle of a download need not suffer; the bucket knows what it has."""
    (cluster.home / "store" / "metadata" / "timestamp.json").write_text("{}")
    assert "shop/shop-1.0.0.tar.zst" in PublishedKeys(cluster.home)
