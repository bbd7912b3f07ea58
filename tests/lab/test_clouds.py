"""One fleet on three clouds and a server in none: what the clouds list is what is deployed to, and nobody keeps a list.

The servers join at boot, by one token that lies on their disks. The controller runs as its unit, with the clouds'
SDKs installed from their packages. No test relies on one before it; each leaves a fleet that runs what is wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from . import debs
from .cache import Cache
from .cluster import AGENT, ENVIRONMENT, Cluster
from .lab import Lab
from .server import Server
from .shop import UNIT, quick_shop

pytest.importorskip("googleapiclient", reason="the clouds' doubles are not installed; run 'make clouds'")

from .clouds import KEYS, Clouds, Instance, cloud_around, clouds_around

CONTROLLER = ("clarion", "clarion-aws", "clarion-gcp", "clarion-azure")
TOKEN_FILE = "/etc/clarion-agent/join.token"
JOIN = "clarion-agent-join.service"
IN_CHANGE = {"draining", "activating", "checking", "baking"}
VERSIONS = ("1.0.0", "2.0.0", "3.0.0", "4.0.0")
STRATEGY = 'max_unreachable = "5%"\nlease_timeout = "60s"\n'
FLEET = {
    "aws-1": Instance("aws", 1),
    "aws-2": Instance("aws", 2),
    "gcp-1": Instance("gcp", 3),
    "azure-1": Instance("azure", 4),
    "metal-1": None,
}

pytestmark = pytest.mark.timeout(600)


@dataclass
class Fleet:
    """A cluster, the clouds around it, and what is needed to add servers; all of it ends with `stack`."""

    cluster: Cluster
    clouds: Clouds
    cache: Cache
    stack: ExitStack
    token: str = ""
    instances: dict[str, Instance] = field(default_factory=dict)

    def prepare(self, name: str, instance: Instance | None) -> Server:
        """Return a server made from an image with the agent, switched off, its join token on its disk."""
        server = self.cluster.lab.prepare(name, [debs.installed(self.cache, "clarion-agent")])
        if instance:
            self.stack.enter_context(cloud_around(self.cluster.lab, server, instance))
        cloud = instance.cloud if instance else "none"
        server.bake("/etc/clarion-agent/agent.toml", f'cloud = "{cloud}"\n{AGENT}')
        server.bake("/etc/systemd/system/shop.service", UNIT.read_text(encoding="utf-8"))
        server.bake(TOKEN_FILE, self.token, mode=0o600)
        return server

    def wait_until_listed(self, *names: str) -> None:
        """Wait until the controller believes that exactly these servers are there."""
        until(f"discovered are {names}", lambda: {n for n, h in self.hosts().items() if h["is_discovered"]} == {*names})

    def hosts(self) -> dict[str, dict[str, object]]:
        """Return what `clarion hosts` says of each host, by name."""
        return self.cluster.hosts()


def until(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s until {what}")
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lab(cache: Cache) -> Iterator[Lab]:
    """Give one lab for all of these tests: together its servers take longer to come up than each test takes."""
    with Lab(cache) as lab:
        yield lab


@pytest.fixture(scope="module")
def fleet(lab: Lab, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Give five servers, which joined by themselves and run 1.0.0 of the shop; others are published."""
    (control,) = lab.boot("control", layers=[debs.installed(cache, *CONTROLLER)])
    with ExitStack() as stack:
        clouds = stack.enter_context(clouds_around(lab, control))
        control.write("/etc/clarion/controller.env", control.read("/etc/clarion/controller.env") + KEYS)
        cluster = Cluster(lab, control, [])
        cluster.found(STRATEGY, clouds.hosts("metal-1"))
        fleet = Fleet(cluster, clouds, cache, stack)
        fleet.token = cluster.must("hosts", "invite", "-e", ENVIRONMENT, "--count", "20")
        cluster.webs = [fleet.prepare(name, instance) for name, instance in FLEET.items()]
        for instance in filter(None, FLEET.values()):
            clouds.list(instance)
        lab.power_on(*cluster.webs)
        shop = quick_shop(tmp_path_factory.mktemp("shop"))
        for version in VERSIONS:
            cluster.publish(shop, version)
        cluster.wait_until_connected()
        fleet.wait_until_listed(*FLEET)
        first = cluster.deploy("1.0.0")
        assert first.returncode == 0, first.stdout + first.stderr
        yield fleet


def test_servers_of_three_clouds_and_one_of_none_are_one_fleet(fleet: Fleet) -> None:
    """Each is discovered, enrolled and connected, bound by its number in its cloud, and runs what was deployed once."""
    hosts = fleet.hosts()
    whole = {name for name, host in hosts.items() if host["is_discovered"] and host["is_enrolled"]}
    assert whole == set(FLEET)
    assert fleet.cluster.connected() == set(FLEET)
    numbers = {name: host["instance"] for name, host in hosts.items()}
    assert numbers == {name: str(instance or "") for name, instance in FLEET.items()}
    assert {name: host["source"] for name, host in hosts.items()} == {
        name: instance.cloud if instance else "static" for name, instance in FLEET.items()
    }
    fleet.cluster.assert_all_run("1.0.0")
