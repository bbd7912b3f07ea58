"""How a host becomes part of a cluster: all or nothing, and nothing on first sight.

The token carries the fingerprints of both things that a host has to believe: the transport
key, which the controller must own to read the first word, and the package root, with which
everything else is verified. What is verified last is kept first: the identity appears, by
one rename, only when policy and metadata are here.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from clarion_agent import durable
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import FOLDER, Identity, Record
from clarion_agent.net import outbox
from clarion_agent.net.sockets import Connection, Peer, receive
from clarion_protocol import strict_json, wire
from clarion_protocol.errors import BadConfig, BadEnvelope, ControllerUnreachable, JoinRefused
from clarion_protocol.invite import (
    Admission,
    Challenge,
    JoinRequest,
    Proof,
    Refusal,
    Token,
    hash_secret,
    mac_of,
    what_is_proved,
)
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import KeyHex
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.wire import Join
from clarion_protocol.words import is_name

BEGUN = "joining.json"
PAUSES = (1.0, 2.0)
PATIENCE = 10.0
_AGAIN = "Run 'clarion hosts invite' on the controller for a new token, then 'clarion-agent join TOKEN' here."
_UNREACHABLE = (
    "Check the address in fleet.toml's [controller], that 'clarion serve' runs there, "
    "and that its join port is open to this host."
)

T = TypeVar("T", bound=msgspec.Struct)
FetchPolicy = Callable[[Record, bytes], object]
"""Brings metadata and policy of the record's environment below `trust`, beginning at this root; raises if it cannot."""


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a join that has begun: for which invitation, the signing seed, the CURVE secret."""

    invite: str
    sign: KeyHex
    transport: KeyHex


@dataclass(frozen=True)
class Applicant:
    """A host that wants to join: what it asks to be called, if anything, and its two new keys."""

    name: str
    sign_key: SigningKey
    transport: TransportKey

    @classmethod
    def of(cls, state_dir: Path, invite: str, name: str) -> Applicant:
        """Return the applicant that began to join with this invitation, or else a new one."""
        keys = _begun(state_dir / BEGUN, invite) or _begin(state_dir / BEGUN, invite)
        return cls(name, SigningKey(bytes.fromhex(keys.sign)), TransportKey.from_secret(keys.transport))

    def request(self, invite: str) -> JoinRequest:
        """Return this host's first words."""
        return JoinRequest(
            invite=invite,
            name=self.name,
            hostname=socket.gethostname().partition(".")[0].lower()[:63],
            sign_key=self.sign_key.public_hex,
            transport_key=self.transport.public,
        )

    def prove(self, challenge: Challenge, token: Token) -> Proof:
        """Return the proof that this host holds the token's secret and its own key."""
        message = what_is_proved(challenge, self.request(token.id))
        return Proof(mac=mac_of(hash_secret(token.secret), message), signature=self.sign_key.sign(message).hex())


def join(token: Token, name: str, state_dir: Path, fetch_policy: FetchPolicy) -> Record:
    """Make this host part of the token's cluster and return its record.

    Raises:
        BadConfig: `name` cannot be one (empty: the token's, or else the machine's).
        JoinRefused: it has joined already, the controller refuses, or it is not the token's cluster.
        NetworkError: controller or package store cannot be reached.
        SignalError: the policy is not believed.
    """
    check_name(name)
    refuse_second_join(state_dir)
    applicant = Applicant.of(state_dir, token.id, name)
    admission = ask_patiently(token, applicant)
    check_admission(token, admission)
    identity = identity_of(token, applicant, admission)
    _forget_former_life(state_dir)
    fetch_policy(identity.record, identity.root)
    identity.save(state_dir)
    durable.remove_file(state_dir / BEGUN)
    return identity.record


def refuse_second_join(state_dir: Path) -> None:
    """Return if this host has no identity.

    Raises:
        JoinRefused: it has.
    """
    if (state_dir / FOLDER).exists():
        raise JoinRefused(
            "this host has joined a cluster already",
            hint=f"Run 'clarion-agent status'. To join anew, stop the agent and move {state_dir / FOLDER} away.",
        )


def check_name(name: str) -> None:
    """Return if `name` can be a host's.

    Raises:
        BadConfig: it cannot.
    """
    if name and not is_name(name):
        raise BadConfig(f"{name!r} cannot be a host's name", hint="Names are of a-z, 0-9, '.', '_' and '-'.")


def ask_patiently(token: Token, applicant: Applicant) -> Admission:
    """Return the controller's admission. An answer that was lost is asked for again with the same keys.

    Raises:
        JoinRefused: the controller refuses.
        ControllerUnreachable: no attempt came to an end.
    """
    for pause in PAUSES:
        with suppress(ControllerUnreachable):
            return ask(token, applicant)
        time.sleep(pause)
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


def check_admission(token: Token, admission: Admission) -> None:
    """Return if `admission` is one to the token's cluster.

    Raises:
        JoinRefused: another cluster, or another package root.
    """
    if admission.cluster != token.cluster:
        raise JoinRefused("the controller admits to another cluster than the token's", hint=_AGAIN)
    if hashlib.sha256(admission.root.encode()).hexdigest() != token.root_sha256:
        raise JoinRefused("the controller sends another package root than the token's", hint=_AGAIN)


def identity_of(token: Token, applicant: Applicant, admission: Admission) -> Identity:
    """Return what this host keeps of a checked admission."""
    record = Record(
        host=admission.host,
        name=admission.name,
        cluster=admission.cluster,
        environment=admission.environment,
        groups=admission.groups,
        address=token.address,
        signal_port=admission.signal_port,
        report_port=admission.report_port,
        package_url=admission.package_url,
        server_key=token.transport_key,
        transport_public=applicant.transport.public,
    )
    return Identity(record, admission.root.encode(), applicant.sign_key, applicant.transport.secret)


def _begun(path: Path, invite: str) -> _Keys | None:
    try:
        keys = strict_json.decode(path.read_bytes(), _Keys, max_bytes=1000)
    except (FileNotFoundError, BadEnvelope):
        return None
    return keys if keys.invite == invite else None


def _begin(path: Path, invite: str) -> _Keys:
    keys = _Keys(invite, SigningKey.generate().seed.hex(), TransportKey.generate().secret)
    durable.make_folder(path.parent, mode=0o700)
    durable.write_atomic(path, strict_json.dumps(keys))
    return keys


def _forget_former_life(state_dir: Path) -> None:
    """Begin with fresh floors: those of an earlier identity belong to another cluster, or were lost."""
    for name in ("trust", outbox.FOLDER, "envelopes"):
        durable.remove_tree(state_dir / name)
    durable.make_folder(state_dir / "trust", mode=0o700)
    FloorFiles(state_dir / "trust").begin()


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
        raise JoinRefused(f"the controller refuses: {message}", hint=hint.strip() or _AGAIN)
    if len(frames) != 2:
        raise JoinRefused("the controller's answer makes no sense", hint=_AGAIN)
    return strict_json.decode(frames[1], kind, max_bytes=wire.MAX_FRAME_BYTES, error=JoinRefused)
