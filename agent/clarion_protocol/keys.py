"""Ed25519 keys as plain values: hex on the wire, never a path, never a default.

OpenSSL accepts forged signatures under public keys of low order (the identity point
verifies anything), so `PublicKey` refuses those at the door.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from clarion_protocol.errors import BadEnvelope

_P = 2**255 - 19
# The eight torsion points of edwards25519 have these y coordinates (libsodium's
# ge25519_has_small_order lists the same); each encodes with either sign bit, and
# y = 0 and y = 1 also in a form not reduced by p.
_LOW_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        _P,
        _P + 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


class PublicKey:
    """One Ed25519 public key, checked once when it is made."""

    __slots__ = ("_key", "hex")

    def __init__(self, hex_text: str) -> None:
        raw = _raw_from_hex(hex_text)
        if int.from_bytes(raw, "little") & ((1 << 255) - 1) in _LOW_ORDER_Y:
            raise BadEnvelope("public key of low order: it would verify anything")
        self.hex = hex_text
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @property
    def keyid(self) -> str:
        """SHA-256 of the raw key in hex: a hint for finding the key, never a right."""
        return keyid_of(self.hex)

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Return whether `signature` over `message` was made with this key."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """One Ed25519 private key."""

    __slots__ = ("_key", "public_hex")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_hex = self._key.public_key().public_bytes_raw().hex()

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for writing to a 0600 file."""
        return self._key.private_bytes_raw()

    @property
    def keyid(self) -> str:
        """SHA-256 of the raw public key in hex."""
        return keyid_of(self.public_hex)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 byte signature over `message`."""
        return self._key.sign(message)


@lru_cache(maxsize=4096)
def public_key(hex_text: str) -> PublicKey:
    """Return the key for `hex_text`; parsing one costs as much as using it, so they are kept.

    Raises:
        BadEnvelope: not 64 lower-case hex digits, or a key of low order.
    """
    return PublicKey(hex_text)


@lru_cache(maxsize=4096)
def keyid_of(hex_text: str) -> str:
    """Return the SHA-256 of the raw public key, in hex."""
    return hashlib.sha256(_raw_from_hex(hex_text)).hexdigest()


def _raw_from_hex(hex_text: str) -> bytes:
    if len(hex_text) != 64 or hex_text.strip("0123456789abcdef"):
        raise BadEnvelope("a public key is 64 lower-case hex digits")
    return bytes.fromhex(hex_text)
