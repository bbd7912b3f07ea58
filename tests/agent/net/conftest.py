"""A controller and an agent for each test, joined by real sockets on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clarion_agent.net.converse import Rhythm
from clarion_agent.net.line import Route
from clarion_agent.net.listen import Listener
from clarion_agent.net.outbox import Author, Outbox
from clarion_agent.net.sockets import Peer
from clarion_protocol.documents import Facts
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import Policy
from clarion_protocol.transport_keys import TransportKey

from .world import CLUSTER, ENVIRONMENT, FAST, HOST, Agent, Controller, Core, wait_for


@pytest.fixture
def host_key() -> SigningKey:
    """Return the host's signing key."""
    return SigningKey.generate()


@pytest.fixture
def transport() -> TransportKey:
    """Return the host's CURVE pair."""
    return TransportKey.generate()


@pytest.fixture
def controller(host_key: SigningKey, transport: TransportKey) -> Iterator[Controller]:
    """Run a controller that knows the host."""
    controller = Controller(host_key.public_hex, transport.public)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def policy(controller: Controller) -> Policy:
    """Return the environment's policy: the controller signs beacons and signals."""
    key = controller.signing.public_hex
    return Policy(cluster=CLUSTER, environment=ENVIRONMENT, deployers=[key], signals=[key], beacons=[key])


@pytest.fixture
def outbox_of(host_key: SigningKey) -> Callable[[Path, Core], Outbox]:
    """Return an outbox in a folder, for a core."""

    def make(folder: Path, core: Core) -> Outbox:
        return Outbox(
            folder, Author(CLUSTER, HOST, host_key, core.running, core.heads, lambda: Facts(hostname="web-1"))
        )

    return make


@pytest.fixture
def agent_of(
    transport: TransportKey, policy: Policy, tmp_path: Path, outbox_of: Callable[[Path, Core], Outbox]
) -> Iterator[Callable[..., Agent]]:
    """Start an agent towards some ports; all of them are stopped in the end."""
    agents: list[Agent] = []

    def start(server_key: str, ports: tuple[int, int], own: TransportKey = transport, rhythm: Rhythm = FAST) -> Agent:
        core = Core(policy)
        outbox = outbox_of(tmp_path / "outbox", core)
        route = Route(Peer("127.0.0.1", server_key, own), *ports, environment=ENVIRONMENT)
        agent = Agent(core, outbox, Listener(route, core, outbox, rhythm))
        agent.listener.start()
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        agent.listener.stop()


@pytest.fixture
def agent(controller: Controller, agent_of: Callable[..., Agent]) -> Agent:
    """Return an agent that is connected to the controller."""
    agent = agent_of(controller.transport.public, controller.ports)
    wait_for(lambda: agent.listener.is_up and controller.reports and controller.asked)
    return agent
