"""The join token: one line that carries a secret *and* the cluster's fingerprints.

So a host that joins trusts nothing it has not been handed: the TUF root is compared with
the fingerprint, the controller must own the transport key. The controller stores only a
hash of the secret. The proof is an HMAC over the challenge and the host's two public keys,
so that a token seen by a third party in the middle of a join gives it nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Annotated

import msgspec
from msgspec import Meta

from clarion_protocol import strict_json
from clarion_protocol.documents import Id, Sha256
from clarion_protocol.errors import JoinRefused
from clarion_protocol.policy import KeyHex
from clarion_protocol.words import INSTANCE

PREFIX = "clarion1."
MAX_TOKEN_BYTES = 2048


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a join token says; `transport_key` is the controller's CURVE public key in hex."""

    cluster: Id
    id: Id
    secret: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    address: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}\Z")]
    join_port: Annotated[int, Meta(ge=1, le=65_535)]
    transport_key: KeyHex
    root_sha256: Sha256

    def text(self) -> str:
        """Return the token as the one line that is handed to a host."""
        return PREFIX + base64.urlsafe_b64encode(strict_json.dumps(self)).decode().rstrip("=")


def read_token(text: str) -> Token:
    """Return the token in `text`.

    Raises:
        JoinRefused: not a join token, or a damaged one.
    """
    text = text.strip()
    damaged = JoinRefused("this is not a whole join token", hint="Run 'clarion hosts invite' for a new one.")
    if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_BYTES:
        raise damaged
    body = text[len(PREFIX) :]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != body:  # bits of the last letter that mean nothing
            raise damaged
        return strict_json.decode(raw, Token, max_bytes=MAX_TOKEN_BYTES, error=JoinRefused)
    except (ValueError, JoinRefused) as error:
        raise damaged from error


def new_secret() -> str:
    """Return 256 random bits in hex."""
    return secrets.token_hex(32)


def hash_secret(secret: str) -> str:
    """Return what the controller keeps of a secret."""
    return hashlib.sha256(bytes.fromhex(secret)).hexdigest()


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host's first words: which invitation it holds and its two new public keys.

    `name` is what it asks to be called; empty, it takes the invitation's name, or else its `hostname`.
    `instance` is what its cloud's metadata service says it is, empty where there is none.
    """

    invite: Id
    name: Annotated[str, Meta(max_length=63)] = ""
    hostname: Annotated[str, Meta(max_length=63)] = ""
    instance: Annotated[str, Meta(pattern=f"^\\Z|{INSTANCE}")] = ""
    sign_key: KeyHex
    transport_key: KeyHex


class Challenge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The controller's nonce, fresh for each attempt."""

    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That the host knows the secret (`mac`) and owns the signing key (`signature`, hex)."""

    mac: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class Admission(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admitted host needs to begin: its record, and where to find the rest."""

    host: Id
    name: Annotated[str, Meta(max_length=63)]
    cluster: Id
    environment: Annotated[str, Meta(max_length=63)]
    groups: list[str] = []
    signal_port: Annotated[int, Meta(ge=1, le=65_535)]
    report_port: Annotated[int, Meta(ge=1, le=65_535)]
    package_url: Annotated[str, Meta(max_length=512)]
    root: Annotated[str, Meta(max_length=100_000)]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a host is not admitted."""

    message: Annotated[str, Meta(max_length=500)]


def what_is_proved(challenge: Challenge, request: JoinRequest) -> bytes:
    """Return the bytes that both the MAC and the signature cover."""
    return b"clarion-join-v1" + strict_json.dumps([challenge.nonce, strict_json.dumps(request).decode()])


def mac_of(secret_hash: str, message: bytes) -> str:
    """Return the proof of the secret. Keyed by the secret's hash, which is all that the controller keeps."""
    return hmac.new(bytes.fromhex(secret_hash), message, hashlib.sha256).hexdigest()


def is_proved(mac: str, secret_hash: str, message: bytes) -> bool:
    """Return whether `mac` proves the secret, in constant time."""
    return hmac.compare_digest(mac, mac_of(secret_hash, message))
