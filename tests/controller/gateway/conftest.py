"""A gateway for each test, and peers that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import zmq

from clarion_controller.gateway.gateway import Gateway, GatewaySettings
from clarion_protocol.transport_keys import TransportKey

from .peers import Directory, Inbox, Peers


@pytest.fixture(scope="session")
def server_key() -> TransportKey:
    """Return the controller's CURVE pair."""
    return TransportKey.generate()


@pytest.fixture
def directory() -> Directory:
    """Return an empty fleet."""
    return Directory()


@pytest.fixture
def inbox() -> Inbox:
    """Return where messages are delivered."""
    return Inbox()


@pytest.fixture
def gateway(server_key: TransportKey, directory: Directory, inbox: Inbox) -> Iterator[Gateway]:
    """Run a gateway on any two ports."""
    gateway = Gateway(GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(server_key.secret)), directory, inbox.deliver)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture
def peers() -> Iterator[Peers]:
    """Make client sockets."""
    peers = Peers()
    yield peers
    peers.close()


@pytest.fixture
def agent_of(
    gateway: Gateway, directory: Directory, peers: Peers, server_key: TransportKey
) -> Callable[..., zmq.Socket[bytes]]:
    """Enrol a host and return its DEALER."""

    def connect(host: str, **options: bytes | int) -> zmq.Socket[bytes]:
        return peers.connect(zmq.DEALER, gateway.report_port, server_key.public, directory.enrol(host), **options)

    return connect
