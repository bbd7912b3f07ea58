"""Client sockets: the controller's key pinned, everything bounded, and never a silent reconnection.

libzmq's own reconnection is off. After one bad answer (an HTTP error page, a refused key, a
frame too large) libzmq 4.3.5 gives a connection up for ever while the socket looks well
(its issue 4196); and reconnecting by itself it would lose queued reports in the middle of
a sequence. So every connection ends visibly, and whoever uses it builds a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from clarion_protocol import wire
from clarion_protocol.transport_keys import TransportKey

UP = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
# What ends a connection, and what that means to a person.
ENDS: dict[int, str] = {
    zmq.EVENT_CLOSED: "nobody answers there",
    zmq.EVENT_DISCONNECTED: "the connection ended",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed: another key, or no controller",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "what answers there is no controller",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the controller does not know this host's key",
}
_EVENTS = UP | sum(ENDS)
_OPTIONS = {
    zmq.RECONNECT_IVL: -1,
    zmq.IMMEDIATE: 1,
    zmq.MAXMSGSIZE: wire.MAX_FRAME_BYTES,
    zmq.HANDSHAKE_IVL: wire.HANDSHAKE_IVL_MS,
    zmq.CONNECT_TIMEOUT: wire.HANDSHAKE_IVL_MS,
    zmq.HEARTBEAT_IVL: wire.HEARTBEAT_IVL_MS,
    zmq.HEARTBEAT_TIMEOUT: wire.HEARTBEAT_TIMEOUT_MS,
    zmq.HEARTBEAT_TTL: wire.HEARTBEAT_TTL_MS,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 15,
    zmq.TCP_KEEPALIVE_CNT: 4,
}
# Above a full outbox, so that all of it fits.
QUEUED = 512


@dataclass(frozen=True)
class Peer:
    """Where the controller is, its CURVE public key in hex, and this side's own pair."""

    address: str
    server_key: str
    own: TransportKey


class Connection:
    """One socket that tries once to connect, and the monitor that tells how that went."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, peer: Peer) -> None:
        self.socket = context.socket(kind)
        self.is_up = False
        _harden(self.socket, peer)
        # Before connecting: a refusal comes faster than a monitor could follow.
        self.monitor = self.socket.get_monitor_socket(_EVENTS)
        self._host = f"[{peer.address}]" if ":" in peer.address and "[" not in peer.address else peer.address

    def dial(self, port: int) -> None:
        """Begin to connect."""
        self.socket.connect(f"tcp://{self._host}:{port}")

    def trouble(self) -> str | None:
        """Take note of what happened since; return why the connection has ended, if it has."""
        while (event := _next_event(self.monitor)) is not None:
            if event == UP:
                self.is_up = True
            if event in ENDS:
                return ENDS[event]
        return None

    @property
    def is_writable(self) -> bool:
        """Whether a message could be sent now."""
        return bool(self.socket.poll(0, zmq.POLLOUT))

    def send(self, *frames: bytes) -> bool:
        """Send a message; return False if this connection cannot take it now."""
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Close the socket and its monitor."""
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()


def receive(socket: zmq.Socket[bytes], limit: int) -> list[bytes]:
    """Return the first `limit` frames of the next message, or nothing. A bomb of frames is read, but never kept."""
    try:
        frames = [socket.recv(zmq.NOBLOCK)]
    except zmq.Again:
        return []
    while socket.getsockopt(zmq.RCVMORE):
        frame = socket.recv()
        if len(frames) < limit:
            frames.append(frame)
    return frames


def _next_event(monitor: zmq.Socket[bytes]) -> int | None:
    try:
        return int(recv_monitor_message(monitor, zmq.NOBLOCK)["event"])
    except zmq.Again:
        return None


def _harden(socket: zmq.Socket[bytes], peer: Peer) -> None:
    socket.linger = 0
    socket.set_hwm(QUEUED)
    socket.curve_serverkey = bytes.fromhex(peer.server_key)
    socket.curve_secretkey = bytes.fromhex(peer.own.secret)
    socket.curve_publickey = bytes.fromhex(peer.own.public)
    socket.setsockopt(zmq.IPV6, int(":" in peer.address))
    for option, value in _OPTIONS.items():
        socket.setsockopt(option, value)
