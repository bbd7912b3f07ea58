"""Joining, on a port of its own that any CURVE client may talk to: join, challenge, proof, admitted or refused.

- Every host gets a challenge, so that asking reveals nothing about invitations; a wrong
  secret and an unknown invitation get the same answer, in the same time.
- The connection's own key (its User-Id) must be the transport key in the request: nobody
  enrols a key that is not theirs.
- Withdrawal, expiry, name and uses are told only to whoever has proved to know the secret.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog
import zmq

from clarion_controller.gateway.crowd import Allowance, Sparing
from clarion_controller.gateway.front import Front
from clarion_controller.gateway.sockets import Listening, address_of, port_of, receive, user_id
from clarion_controller.gateway.zap import everybody
from clarion_protocol import strict_json, wire
from clarion_protocol.errors import BadEnvelope, ClarionError, JoinRefused
from clarion_protocol.invite import Admission, Challenge, JoinRequest, Proof, Refusal, is_proved, what_is_proved
from clarion_protocol.keys import public_key
from clarion_protocol.transport_keys import check_transport_key
from clarion_protocol.wire import Join
from clarion_protocol.words import is_name

ZAP_DOMAIN = b"clarion-join"
MAX_MESSAGES_PER_SECOND = 400
MAX_ATTEMPTS = 1024
ATTEMPT_TTL = 30.0
_INVITE = "Run 'clarion hosts invite' for a new one."
# Compared with where there is no invitation, so that both cases take the same time.
_NOBODYS_SECRET_HASH = secrets.token_hex(32)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Invitation:
    """What the controller keeps of a join token; `expires` and `withdrawn_at` in UTC seconds."""

    secret_hash: str
    environment: str
    groups: tuple[str, ...]
    name: str | None
    uses_left: int
    expires: float
    withdrawn_at: float | None = None


class Enrolment(Protocol):
    """What the join port asks of the controller; called on the join port's thread."""

    def invitation(self, invite: str) -> Invitation | None:
        """Return the invitation with this id, also if it is used up or expired."""

    def admit(self, request: JoinRequest, invitation: Invitation) -> Admission:
        """Enrol the host under `request.name` and use the invitation once, both or neither.

        The very same request again (its answer was lost) gets the same admission and uses nothing.

        Raises:
            JoinRefused: the invitation is used up, or the name, a key or the instance is already enrolled.
        """


@dataclass(frozen=True)
class JoinPortSettings:
    """Where to listen (port 0: any), and the controller's CURVE secret (32 bytes)."""

    bind: str
    port: int
    secret: bytes


@dataclass(frozen=True)
class Attempt:
    """A request that has been given its challenge."""

    request: JoinRequest
    challenge: Challenge
    since: float


def check_request(request: JoinRequest, sender: str) -> None:
    """Return if `sender`, the connection's CURVE key, may ask this.

    Raises:
        JoinRefused: keys that are not the sender's or of low order.
    """
    if request.transport_key != sender:
        raise JoinRefused("the transport key in the request is not the one of this connection")
    if request.name and not is_name(request.name):
        raise JoinRefused(
            f"{request.name!r} cannot be a host's name",
            hint="Run 'clarion-agent join TOKEN --name NAME': a-z 0-9 . _ -",
        )
    try:
        public_key(request.sign_key)
        check_transport_key(request.transport_key)
    except BadEnvelope as error:
        raise JoinRefused(error.message) from error


def check_proof(attempt: Attempt, proof: Proof, invitation: Invitation | None, now: float) -> Invitation:
    """Return the invitation that `proof` opens.

    Raises:
        JoinRefused: unknown, wrong secret, wrong signature, withdrawn, or expired.
    """
    message = what_is_proved(attempt.challenge, attempt.request)
    secret_hash = _NOBODYS_SECRET_HASH if invitation is None else invitation.secret_hash
    if not is_proved(proof.mac, secret_hash, message) or invitation is None:
        raise JoinRefused("this token is not known here", hint=_INVITE)
    if not public_key(attempt.request.sign_key).has_signed(bytes.fromhex(proof.signature), message):
        raise JoinRefused("the host does not own the signing key that it sends")
    if invitation.withdrawn_at is not None:
        raise JoinRefused(f"this token was withdrawn {now - invitation.withdrawn_at:.0f} s ago", hint=_INVITE)
    if invitation.expires <= now:
        raise JoinRefused(f"this token expired {now - invitation.expires:.0f} s ago", hint=_INVITE)
    return invitation


def named(request: JoinRequest, invitation: Invitation) -> JoinRequest:
    """Return the request with the name that the host gets.

    Raises:
        JoinRefused: it asks for another name than its invitation's, or has none that can be one.
    """
    if invitation.name and request.name not in {"", invitation.name}:
        raise JoinRefused(f"this token is for the host {invitation.name!r}, not {request.name!r}", hint=_INVITE)
    name = invitation.name or request.name or request.hostname
    if not is_name(name):
        raise JoinRefused(
            f"{name!r} cannot be a host's name (a-z 0-9 . _ -)", hint="Run 'clarion-agent join TOKEN --name NAME'."
        )
    return msgspec.structs.replace(request, name=name)


class JoinPort:
    """Admits hosts that hold an invitation."""

    def __init__(
        self, settings: JoinPortSettings, enrolment: Enrolment, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._enrolment = enrolment
        self._clock = clock
        self._attempts: OrderedDict[str, Attempt] = OrderedDict()
        self._allowance = Allowance()
        self._refused, self._unanswered = Sparing("join.refused"), Sparing("join.unanswered")
        self._front = Front("join-port", {ZAP_DOMAIN: everybody})

    def start(self) -> None:
        """Bind the port and begin.

        Raises:
            BadConfig: the port cannot be bound.
        """
        settings = self._settings
        try:
            at = Listening(settings.bind, settings.port, settings.secret, ZAP_DOMAIN)
            self.port = port_of(self._front.listen(zmq.ROUTER, at, self._serve))
        except ClarionError:
            self._front.stop()
            raise
        self._front.start()

    def stop(self) -> None:
        """Close the socket and end the thread; harmless when repeated."""
        self._front.stop()

    def _serve(self, socket: zmq.Socket[bytes]) -> None:
        frames = receive(socket)
        if len(frames) != 3 or len(frames[2]) > wire.MAX_SMALL_BODY:
            return
        if not self._allowance.takes(address_of(frames[0]), MAX_MESSAGES_PER_SECOND):
            return
        kind, answer = self._answer(frames)
        try:
            socket.send_multipart([frames[0].bytes, kind.value, strict_json.dumps(answer)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self._unanswered.say(reason=str(error))

    def _answer(self, frames: list[zmq.Frame]) -> tuple[Join, msgspec.Struct]:
        sender, kind, body = user_id(frames[0]), frames[1].bytes, frames[2].bytes
        try:
            if kind == Join.PROOF:
                return Join.ADMITTED, self._admit(body, sender)
            return Join.CHALLENGE, self._challenge(body, sender)
        except JoinRefused as error:
            self._refused.say(reason=error.message)
            return Join.REFUSED, Refusal(str(error)[:500])

    def _challenge(self, body: bytes, sender: str) -> Challenge:
        request = strict_json.decode(body, JoinRequest, max_bytes=wire.MAX_SMALL_BODY, error=JoinRefused)
        check_request(request, sender)
        self._forget_old_attempts()
        attempt = Attempt(request, Challenge(secrets.token_hex(32)), self._clock())
        self._attempts[sender] = attempt
        return attempt.challenge

    def _admit(self, body: bytes, sender: str) -> Admission:
        proof = strict_json.decode(body, Proof, max_bytes=wire.MAX_SMALL_BODY, error=JoinRefused)
        # Taken out first: a challenge is answered once, rightly or wrongly.
        attempt = self._attempts.pop(sender, None)
        if attempt is None or attempt.since < self._clock() - ATTEMPT_TTL:
            raise JoinRefused("no challenge is open for this proof", hint="Run 'clarion-agent join TOKEN' again.")
        known = self._enrolment.invitation(attempt.request.invite)
        invitation = check_proof(attempt, proof, known, self._clock())
        admission = self._enrolment.admit(named(attempt.request, invitation), invitation)
        _log.info("join.admitted", host=admission.host, name=admission.name, environment=admission.environment)
        return admission

    def _forget_old_attempts(self) -> None:
        since = self._clock() - ATTEMPT_TTL
        while self._attempts and (
            len(self._attempts) >= MAX_ATTEMPTS or next(iter(self._attempts.values())).since < since
        ):
            self._attempts.popitem(last=False)
