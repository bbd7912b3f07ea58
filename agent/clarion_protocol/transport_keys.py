"""CURVE (X25519) keys as plain values, in hex: what ZeroMQ encrypts and recognises peers by."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from clarion_protocol.errors import BadEnvelope


class TransportKey(NamedTuple):
    """One key pair, each half as 64 hex digits."""

    secret: str
    public: str

    @classmethod
    def generate(cls) -> TransportKey:
        """Return a new pair from the system's randomness."""
        return cls.from_secret(X25519PrivateKey.generate().private_bytes_raw().hex())

    @classmethod
    def from_secret(cls, secret: str) -> TransportKey:
        """Return the pair that belongs to a secret half."""
        key = X25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
        return cls(secret, key.public_key().public_bytes_raw().hex())


def check_transport_key(public: str) -> None:
    """Return if `public` is a key that somebody can own alone.

    Raises:
        BadEnvelope: not 32 bytes in hex, or a point of low order, whose shared secrets everybody knows.
    """
    try:
        # An exchange is the test: it refuses the all-zero secret that every low order point leads to.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    except ValueError as error:
        raise BadEnvelope("a transport key that is malformed or of low order") from error
