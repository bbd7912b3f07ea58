"""Peers of the gateway: honest agents, strangers, and raw sockets that say whatever a test wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from clarion_controller.gateway.gateway import Inbound
from clarion_protocol.transport_keys import TransportKey


def wait_for(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as `what` is true; fail the test if that takes too long."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


@dataclass
class Directory:
    """Who is enrolled: host ids by transport key. `fault` is raised instead of answering."""

    hosts: dict[str, str] = field(default_factory=dict)
    fault: Exception | None = None

    def host_of(self, transport_key: str) -> str | None:
        """Return the owner of a key."""
        if self.fault:
            raise self.fault
        return self.hosts.get(transport_key)

    def enrol(self, host: str) -> TransportKey:
        """Return the key of a new host."""
        key = TransportKey.generate()
        self.hosts[key.public] = host
        return key


@dataclass
class Inbox:
    """What the gateway has delivered."""

    messages: list[Inbound] = field(default_factory=list)

    def deliver(self, batch: list[Inbound]) -> None:
        """Take a batch."""
        self.messages.extend(batch)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies, in order."""
        return [message.body for message in self.messages]


class Peers:
    """Makes client sockets and closes them all in the end."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []

    def connect(
        self,
        kind: int,
        port: int,
        server_key: str | None,
        own: TransportKey | None,
        source: str = "127.0.0.1",
        /,
        **options: bytes | int,
    ) -> zmq.Socket[bytes]:
        """Return a client that is connected from `source`; without keys it speaks plainly."""
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        socket.linger = 0
        socket.rcvtimeo = 5000
        if own and server_key:
            socket.curve_serverkey = bytes.fromhex(server_key)
            socket.curve_publickey, socket.curve_secretkey = bytes.fromhex(own.public), bytes.fromhex(own.secret)
        for name, value in options.items():
            setattr(socket, name, value)
        if kind == zmq.SUB:
            socket.subscribe(b"production")
        socket.connect(f"tcp://{source}:0;127.0.0.1:{port}")
        return socket

    def close(self) -> None:
        """Close everything."""
        for socket in self._sockets:
            socket.close()
        self._context.term()
