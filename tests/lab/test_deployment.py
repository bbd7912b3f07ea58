"""The main promise on five real servers: a version arrives everywhere, a broken one goes back, and the status is true.

Five agents run as their units, installed by apt from the built packages; they joined with tokens; the shop runs as a
unit under customers who come through a balancer that reads /healthz.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .cache import Cache
from .cluster import PORT, Cluster, host_status, set_up
from .customers import Customers
from .lab import Lab
from .shop import broken_shop, quick_shop

SETTLED = {"pending", "staged", "committed", "rolled_back"}

pytestmark = pytest.mark.timeout(600)


def customers_of(cluster: Cluster) -> Customers:
    """Let customers come to every server."""
    return Customers(cluster.lab, [f"http://{web.address}:{PORT}" for web in cluster.webs])


def pids(cluster: Cluster) -> dict[str, str]:
    """Return the process that serves customers on each server."""
    return {web.name: web.show("shop.service", "MainPID") for web in cluster.webs}


def observe(cluster: Cluster) -> int:
    """Compare, until the deployment is over, every settled host's status with its service; return how often."""
    compared = 0
    before = cluster.status()
    while not before["deployment"]["finished"]:
        answers = {web.name: cluster.answer(web) for web in cluster.webs}
        after = cluster.status()
        for name in _settled(before) & _settled(after):
            if cluster.claimed(before)[name] == cluster.claimed(after)[name]:
                assert answers[name] == cluster.claimed(after)[name], f"{name} is {host_status(after)[name]}"
                compared += 1
        before = after
    return compared


def _settled(status: dict[str, object]) -> set[str]:
    return {name for name, word in host_status(status).items() if word in SETTLED}


def test_five_servers_go_forward_refuse_a_broken_version_and_go_back(lab: Lab, cache: Cache, tmp_path: Path) -> None:
    """1 to 2 rolls through under load without a failed request, broken 3 comes back to 2, and all sources agree."""
    cluster = set_up(lab, cache)
    good = quick_shop(tmp_path / "good")
    cluster.publish(good, "1.0.0")
    first = cluster.deploy("1.0.0")
    assert first.returncode == 0, first.stdout + first.stderr
    cluster.assert_all_run("1.0.0")

    cluster.publish(good, "2.0.0")
    with customers_of(cluster) as customers:
        cluster.begin("2.0.0")
        compared = observe(cluster)
    assert cluster.status()["deployment"]["status"] == "succeeded"
    cluster.assert_all_run("2.0.0")
    assert compared >= len(cluster.webs)
    assert customers.failures == {}
    assert all(versions == ["1.0.0", "2.0.0"] for versions in customers.versions.values()), customers.versions

    cluster.publish(broken_shop(tmp_path / "broken"), "3.0.0")
    before = pids(cluster)
    with customers_of(cluster) as customers:
        broken = cluster.deploy("3.0.0")
    assert broken.returncode == 4, broken.stdout + broken.stderr
    assert cluster.status()["deployment"]["status"] == "rolled_back"
    cluster.assert_all_run("2.0.0")
    assert customers.failures == {}
    assert all(versions == ["2.0.0"] for versions in customers.versions.values()), customers.versions
    touched = {name for name, pid in pids(cluster).items() if pid != before[name]}
    assert len(touched) == 1, "a rollout that halts touches no second host"

    back = cluster.clarion("rollback", "shop", "1.0.0", "-e", "production", "--yes")
    assert back.returncode == 0, back.stdout + back.stderr
    cluster.assert_all_run("1.0.0")
