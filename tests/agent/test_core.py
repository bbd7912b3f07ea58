"""The core half: from a signed envelope to what runs."""

from __future__ import annotations

from tests.agent.rig import World

from clarion_protocol.words import HostStatus


def test_a_deployment_goes_through_all_stages(world: World) -> None:
    """A host pulls, verifies, unpacks, tests, waits for its lease, switches, checks and commits."""
    package = world.publish("1.0.0", 1)

    world.deploy(package)

    assert world.statuses() == [
        HostStatus.PULLING,
        HostStatus.VERIFYING,
        HostStatus.TESTING,
        HostStatus.STAGED,
        HostStatus.DRAINING,
        HostStatus.ACTIVATING,
        HostStatus.CHECKING,
        HostStatus.BAKING,
        HostStatus.COMMITTED,
    ], world.last()
    assert world.current() == "1-1.0.0"
    assert world.services.runs == "1-1.0.0"
