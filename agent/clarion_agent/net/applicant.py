"""A host that asks to join: its two new keys, kept from the first word on.

So the same command run again, after whatever went wrong, finishes what it began: the
controller knows the keys, gives the same answer, and uses nothing more of the token.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_agent import durable
from clarion_protocol import strict_json
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.invite import Challenge, JoinRequest, Proof, Token, hash_secret, mac_of, what_is_proved
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import KeyHex
from clarion_protocol.transport_keys import TransportKey

BEGUN = "joining.json"


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
