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
from clarion_protocol.errors import BadConfig, BadEnvelope
from clarion_protocol.invite import Challenge, JoinRequest, Proof, Token, hash_secret, mac_of, what_is_proved
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import KeyHex
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.words import is_name

BEGUN = "joining.json"


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a join that has begun: for which invitation, the signing seed, the CURVE secret, on which server."""

    invite: str
    sign: KeyHex
    transport: KeyHex
    instance: str = ""


@dataclass(frozen=True)
class Wish:
    """What a host says of itself: what it wants to be called, if anything, and which server of its cloud it is."""

    name: str = ""
    instance: str = ""

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            BadConfig: it cannot be a host's.
        """
        if self.name and not is_name(self.name):
            raise BadConfig(f"{self.name!r} cannot be a host's name", hint="Names are of a-z, 0-9, '.', '_' and '-'.")

    def on(self, instance: str) -> Wish:
        """Return the same wish on this server of its cloud."""
        return Wish(self.name, instance)


@dataclass(frozen=True)
class Applicant:
    """A host that wants to join: what it says of itself, and its two new keys."""

    wish: Wish
    sign_key: SigningKey
    transport: TransportKey

    @classmethod
    def of(cls, state_dir: Path, invite: str, wish: Wish) -> Applicant:
        """Return the applicant that began to join with this invitation on this server, or else a new one."""
        path, asked = state_dir / BEGUN, (invite, wish.instance)
        keys = _begun(path, *asked) or _begin(path, *asked)
        return cls(wish, SigningKey(bytes.fromhex(keys.sign)), TransportKey.from_secret(keys.transport))

    def request(self, invite: str) -> JoinRequest:
        """Return this host's first words."""
        return JoinRequest(
            invite=invite,
            name=self.wish.name,
            hostname=socket.gethostname().partition(".")[0].lower()[:63],
            instance=self.wish.instance,
            sign_key=self.sign_key.public_hex,
            transport_key=self.transport.public,
        )

    def prove(self, challenge: Challenge, token: Token) -> Proof:
        """Return the proof that this host holds the token's secret and its own key."""
        message = what_is_proved(challenge, self.request(token.id))
        return Proof(mac=mac_of(hash_secret(token.secret), message), signature=self.sign_key.sign(message).hex())


def _begun(path: Path, invite: str, instance: str) -> _Keys | None:
    try:
        keys = strict_json.decode(path.read_bytes(), _Keys, max_bytes=1000)
    except (FileNotFoundError, BadEnvelope):
        return None
    # An image of a server that had begun carries these keys into every server made of it.
    return keys if (keys.invite, keys.instance) == (invite, instance) else None


def _begin(path: Path, invite: str, instance: str) -> _Keys:
    keys = _Keys(invite, SigningKey.generate().seed.hex(), TransportKey.generate().secret, instance)
    durable.make_folder(path.parent, mode=0o700)
    durable.write_atomic(path, strict_json.dumps(keys))
    return keys
