"""What the tests ask a double of Compute Engine, impatiently."""

from __future__ import annotations

from typing import Any

from tests.clouds.fake_gce import PROJECT, FakeGce

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.gcp import GcpDiscoverer, Patience
from clarion_controller.fleet_toml.fleet import Gcp

HASTE = Patience(attempt=3, page=0.2, whole=5)


def ask(gce: FakeGce, project: str = PROJECT, **source: Any) -> list[Discovered]:
    """Ask for the hosts of a source."""
    return GcpDiscoverer(Gcp(project=project, endpoint=gce.address, **source), HASTE).hosts()


def names(hosts: list[Discovered]) -> list[str]:
    """Return how they are called."""
    return [host.name for host in hosts]
