"""A package that is gone is noticed before hosts are sent to fetch it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.controller.live import new_cluster

from clarion_controller.cluster import Cluster
from clarion_controller.stores import missing
from clarion_controller.stores.missing import refuse_missing
from clarion_protocol.errors import Blocked, CloudRefused, CloudUnavailable


class Silent:
    """A bucket that does not answer, or refuses."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def head(self, key: str) -> None:
        """Raise what it was given."""
        raise self._error


@pytest.mark.parametrize("suffix", [".tar.zst", ".manifest.json.zst"])
def test_a_file_that_is_gone_blocks_with_the_way_to_bring_it_back(tmp_path: Path, suffix: str) -> None:
    """Publishing the very same package repairs the store; while all is there, nothing is said."""
    made = new_cluster(tmp_path)
    made.publish("1.0.0")
    cluster = Cluster.at(made.home)
    release = cluster.release("shop", "1.0.0")
    refuse_missing(cluster, release)
    (cluster.repository.packages / f"shop/shop-1.0.0{suffix}").unlink()
    with pytest.raises(Blocked, match=suffix) as caught:
        refuse_missing(cluster, release)
    assert "clarion publish" in (caught.value.hint or "")
    made.publish("1.0.0")
    refuse_missing(cluster, release)


def test_a_bucket_that_does_not_answer_is_left_to_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They try for longer than anybody waits for a plan; one that refuses us lets no host in either."""
    made = new_cluster(tmp_path)
    made.publish("1.0.0")
    cluster = Cluster.at(made.home)
    release = cluster.release("shop", "1.0.0")
    for file in (cluster.repository.packages / "shop").iterdir():
        file.unlink()
    monkeypatch.setattr(missing, "store_of", lambda *_: Silent(CloudUnavailable("silence")))
    refuse_missing(cluster, release)
    monkeypatch.setattr(missing, "store_of", lambda *_: Silent(CloudRefused("no leave")))
    with pytest.raises(CloudRefused):
        refuse_missing(cluster, release)
