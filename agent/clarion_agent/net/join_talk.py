"""The conversation of joining, as the host holds it: join, challenge, proof, admitted or refused."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TypeVar

import msgspec
import zmq

from clarion_agent.net.applicant import Applicant
from clarion_agent.net.sockets import Connection, Peer, receive
from clarion_protocol import strict_json, wire
from clarion_protocol.errors import ControllerUnreachable, JoinRefused
from clarion_protocol.invite import Admission, Challenge, Refusal, Token
from clarion_protocol.wire import Join

PAUSES = (1.0, 2.0)
PATIENCE = 10.0
AGAIN = "Run 'clarion hosts invite' on the controller for a new token, then 'clarion-agent join TOKEN' here."
_UNREACHABLE = (
    "Check the address in fleet.toml's [controller], that 'clarion serve' runs there, "
    "and that its join port is open to this host."
)

T = TypeVar("T", bound=msgspec.Struct)


def ask_patiently(token: Token, applicant: Applicant) -> Admission:
    """Return the controller's admission. An answer that was lost is asked for again with the same keys.

    Raises:
        JoinRefused: the controller refuses.
        ControllerUnreachable: no attempt came to an end.
    """
    for pause in PAUSES:
        with suppress(ControllerUnreachable):
            return ask(token, applicant)
        time.sleep(random.uniform(pause / 2, pause * 2))  # noqa: S311 (spreads a scaling group, keeps no secret)
    return ask(token, applicant)


def ask(token: Token, applicant: Applicant) -> Admission:
    """Hold the conversation of joining once.

    Raises:
        JoinRefused: the controller refuses, or answers nonsense.
        ControllerUnreachable: nobody who owns the token's transport key answers.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    connection = Connection(context, zmq.DEALER, Peer(token.address, token.transport_key, applicant.transport))
    try:
        connection.dial(token.join_port)
        desk = _Desk(connection, f"{token.address} port {token.join_port}")
        challenge = desk.ask(Join.JOIN, applicant.request(token.id), Challenge)
        return desk.ask(Join.PROOF, applicant.prove(challenge, token), Admission)
    finally:
        connection.close()
        context.term()


class _Desk:
    """Asks over one connection and reads the answers."""

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where
        self._deadline = time.monotonic() + PATIENCE

    def ask(self, word: Join, body: msgspec.Struct, kind: type[T]) -> T:
        """Return the answer to `body` as a `kind`."""
        while not self._connection.send(word.value, strict_json.dumps(body)):
            self._wait(zmq.POLLOUT)
        while not (frames := receive(self._connection.socket, 2)):
            self._wait(zmq.POLLIN)
        return _read(frames, kind)

    def _wait(self, readiness: int) -> None:
        seconds = self._deadline - time.monotonic()
        poller = zmq.Poller()
        poller.register(self._connection.socket, readiness)
        poller.register(self._connection.monitor, zmq.POLLIN)
        poller.poll(max(0, int(seconds * 1000)))
        trouble = self._connection.trouble()
        if trouble or seconds <= 0:
            raise ControllerUnreachable(f"cannot join at {self._where}: {trouble or 'no answer'}", hint=_UNREACHABLE)


def _read(frames: list[bytes], kind: type[T]) -> T:
    if len(frames) == 2 and frames[0] == Join.REFUSED.value:
        refusal = strict_json.decode(frames[1], Refusal, max_bytes=wire.MAX_SMALL_BODY, error=JoinRefused)
        message, _, hint = refusal.message.partition("\n")
        raise JoinRefused(f"the controller refuses: {message}", hint=hint.strip() or AGAIN)
    if len(frames) != 2:
        raise JoinRefused("the controller's answer makes no sense", hint=AGAIN)
    return strict_json.decode(frames[1], kind, max_bytes=wire.MAX_FRAME_BYTES, error=JoinRefused)
