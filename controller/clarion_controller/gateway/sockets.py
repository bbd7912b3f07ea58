"""Server sockets with every option that keeps strangers and floods out (reference: security.md F1 to F7)."""

from __future__ import annotations

from dataclasses import dataclass

import zmq

from clarion_protocol import wire
from clarion_protocol.errors import BadConfig

BACKLOG = 4096
# A slow agent loses signals beyond this many and asks for them when the next beacon shows it.
QUEUED_SIGNALS = 1000
QUEUED_REPORTS = 100


@dataclass(frozen=True)
class Listening:
    """Where a socket listens and which CURVE secret (32 bytes) proves who it is."""

    bind: str
    port: int
    secret: bytes
    domain: bytes


def listen(context: zmq.Context[zmq.Socket[bytes]], kind: int, at: Listening) -> zmq.Socket[bytes]:
    """Return a bound CURVE server socket. `ZAP_ENFORCE_DOMAIN` refuses everybody when no doorkeeper runs.

    Raises:
        BadConfig: the address cannot be bound.
    """
    socket = context.socket(kind)
    _harden(socket, at)
    try:
        socket.bind(f"tcp://{_bracketed(at.bind)}:{at.port or '*'}")
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise BadConfig(
            f"cannot listen on {at.bind} port {at.port}: {error}",
            hint=f"Run 'ss -ltnp sport = :{at.port}' to see who has it, or change [controller] in fleet.toml.",
        ) from error
    return socket


def port_of(socket: zmq.Socket[bytes]) -> int:
    """Return the port that a bound socket really has (0 asks for any)."""
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def receive(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """Return the first 4 frames of the next message, or nothing. A bomb of frames is read, but never kept."""
    try:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return []
    frames = [frame]
    while frame.more:
        frame = socket.recv(copy=False)
        if len(frames) < 4:
            frames.append(frame)
    return frames


def user_id(frame: zmq.Frame) -> str:
    """Return the CURVE key (hex) that the doorkeeper admitted and that sent this frame; empty if there is none."""
    return _said_of(frame, "User-Id")


def address_of(frame: zmq.Frame) -> str:
    """Return the IP address that this frame came from; empty if it is not known."""
    return _said_of(frame, "Peer-Address")


def _said_of(frame: zmq.Frame, what: str) -> str:
    try:
        return str(frame.get(what))
    except zmq.ZMQError:
        return ""


def _harden(socket: zmq.Socket[bytes], at: Listening) -> None:
    socket.linger = 0
    socket.curve_server = True
    socket.curve_secretkey = at.secret
    socket.zap_domain = at.domain
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME_BYTES)
    socket.setsockopt(zmq.HANDSHAKE_IVL, wire.HANDSHAKE_IVL_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, wire.HEARTBEAT_IVL_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, wire.HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, wire.HEARTBEAT_TTL_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 15)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
    socket.setsockopt(zmq.BACKLOG, BACKLOG)
    socket.setsockopt(zmq.IPV6, int(":" in at.bind))
    if socket.type == zmq.ROUTER:
        # Without MANDATORY a message to an agent that has gone vanishes without a word;
        # HANDOVER stays off, or one agent could take another's place.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.set_hwm(QUEUED_REPORTS)
    else:
        socket.set_hwm(QUEUED_SIGNALS)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
