"""One attempt at a connection to the controller: signals in, reports out, until either of them ends."""

from __future__ import annotations

from dataclasses import dataclass

import zmq

from clarion_agent.net.sockets import Connection, Peer


@dataclass(frozen=True)
class Route:
    """Where the two ports are, and the environment whose signals are wanted."""

    peer: Peer
    signal_port: int
    report_port: int
    environment: str


class Line:
    """A SUB and a DEALER that live and die together."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], route: Route) -> None:
        self.signals = Connection(context, zmq.SUB, route.peer)
        self.signals.socket.subscribe(route.environment.encode())
        self.reports = Connection(context, zmq.DEALER, route.peer)
        self.sent = 0
        """The newest queued report that was sent on this line."""

    def dial(self, route: Route) -> None:
        """Begin to connect both."""
        self.signals.dial(route.signal_port)
        self.reports.dial(route.report_port)

    @property
    def is_up(self) -> bool:
        """Whether both handshakes have succeeded."""
        return self.signals.is_up and self.reports.is_up

    @property
    def can_speak(self) -> bool:
        """Whether it is up and takes a message now."""
        return self.is_up and self.reports.is_writable

    @property
    def sources(self) -> list[zmq.Socket[bytes]]:
        """What to poll for reading."""
        return [self.signals.socket, self.signals.monitor, self.reports.socket, self.reports.monitor]

    def trouble(self) -> str | None:
        """Take note of what happened to both; return why the line has ended, if it has."""
        for name, connection in (("signals", self.signals), ("reports", self.reports)):
            if why := connection.trouble():
                return f"{name}: {why}"
        return None

    def close(self) -> None:
        """Close both."""
        self.signals.close()
        self.reports.close()
