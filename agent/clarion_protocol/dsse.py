"""DSSE envelopes: a payload, its type, and signatures over both.

Source: the DSSE specification v1.0 (protocol.md, envelope.md). Why not
securesystemslib's own `Envelope`: it counts one key under two ids twice, leaves the
payload type to the caller and raises whatever its parsers raise. So:

- the payload type is compared, never taken from the message;
- signatures are counted by distinct public *keys*;
- base64 is strict and canonical: one payload has one encoding;
- opening an envelope returns the payload or raises; there is no flag to forget.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Sequence

import msgspec

from clarion_protocol import strict_json
from clarion_protocol.errors import BadEnvelope, BadSignature
from clarion_protocol.keys import SigningKey, keyid_of, public_key

MAX_ENVELOPE_BYTES = 256 * 1024
MAX_SIGNATURES = 8


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature and a hint at whose it is."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outer, unverified shape of every signed message."""

    payload: str
    payloadType: str  # noqa: N815 (the specification's spelling)
    signatures: list[Signature]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, signers: Sequence[SigningKey]) -> bytes:
    """Return the envelope of `payload`, signed by each of `signers`."""
    message = pae(payload_type, payload)
    signatures = [Signature(key.keyid, base64.b64encode(key.sign(message)).decode()) for key in signers]
    return strict_json.dumps(Envelope(base64.b64encode(payload).decode(), payload_type, signatures))


def parse(raw: bytes) -> Envelope:
    """Return the envelope's outer shape, of which nothing is verified yet.

    Raises:
        BadEnvelope: not strict JSON, unknown or missing fields, or no or too many signatures.
    """
    envelope = strict_json.decode(raw, Envelope, max_bytes=MAX_ENVELOPE_BYTES)
    if not 1 <= len(envelope.signatures) <= MAX_SIGNATURES:
        raise BadEnvelope(f"{len(envelope.signatures)} signatures where 1 to {MAX_SIGNATURES} are allowed")
    return envelope


def open_verified(raw: bytes, payload_type: str, keys: Collection[str], threshold: int = 1) -> bytes:
    """Return the payload of `raw` after at least `threshold` distinct `keys` (public, hex) proved to have signed it.

    Raises:
        BadEnvelope: the envelope is malformed or of another payload type.
        BadSignature: too few valid signatures.
    """
    envelope = parse(raw)
    if envelope.payloadType != payload_type:
        raise BadEnvelope(f"payload type {envelope.payloadType[:100]!r} where {payload_type!r} is due")
    payload = _strict_base64(envelope.payload)
    signers = _signers(envelope.signatures, pae(payload_type, payload), keys)
    if threshold < 1 or len(signers) < threshold:
        raise BadSignature(f"{len(signers)} valid signatures by keys of this role where {max(threshold, 1)} are due")
    return payload


def digest(payload: bytes) -> str:
    """Return the SHA-256 of a payload in hex: what floors and references compare."""
    return hashlib.sha256(payload).hexdigest()


def _signers(signatures: Sequence[Signature], message: bytes, keys: Collection[str]) -> set[str]:
    """Return the distinct public keys among `keys` that signed `message`."""
    by_id = {keyid_of(key): key for key in keys}
    signers: set[str] = set()
    for signature in signatures:
        key = by_id.get(signature.keyid)
        if key is not None and public_key(key).has_signed(_strict_base64(signature.sig), message):
            signers.add(key)
    return signers


def _strict_base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope(f"not base64: {error}") from error
    if base64.b64encode(raw).decode() != text:
        raise BadEnvelope("base64 that is not canonical")
    return raw
