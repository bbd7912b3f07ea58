"""Ed25519 and CURVE keys: what signs, what is refused at the door."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.errors import BadEnvelope
from clarion_protocol.keys import PublicKey, SigningKey, keyid_of, public_key
from clarion_protocol.transport_keys import TransportKey, check_transport_key

KEY = SigningKey(bytes(range(32)))
P = 2**255 - 19

LOW_ORDER_POINTS = {
    "the identity": "01" + "00" * 31,
    "order 2": "ec" + "ff" * 30 + "7f",
    "order 4": "00" * 32,
    "order 4, other sign": "00" * 31 + "80",
    "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, other sign": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "order 8, negative": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "order 8, negative, other sign": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "the identity, other sign": "01" + "00" * 30 + "80",
    "order 2, other sign": "ec" + "ff" * 31,
    "zero, not reduced": "ed" + "ff" * 30 + "7f",
    "zero, not reduced, other sign": "ed" + "ff" * 31,
    "one, not reduced": "ee" + "ff" * 30 + "7f",
    "one, not reduced, other sign": "ee" + "ff" * 31,
}

LOW_ORDER_TRANSPORT = {
    "zero": "00" * 32,
    "one": "01" + "00" * 31,
    "order 8": "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "order 8, the other": "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "minus one": "ec" + "ff" * 30 + "7f",
    "zero, not reduced": "ed" + "ff" * 30 + "7f",
    "one, not reduced": "ee" + "ff" * 30 + "7f",
    "zero with the bit that is ignored": "00" * 31 + "80",
}

MALFORMED = {
    "empty": "",
    "a digit short": "a" * 63,
    "a digit long": "a" * 65,
    "capitals": KEY.public_hex.upper(),
    "no hex": "g" * 64,
    "white space": KEY.public_hex[:-2] + " \n",
    "a prefix": "0x" + KEY.public_hex[2:],
    "digits of another script": "\u0661" * 64,
}


def test_a_signature_verifies_with_its_own_key_only() -> None:
    """Another key, another message and another signature all fail."""
    signature = KEY.sign(b"message")
    assert public_key(KEY.public_hex).has_signed(signature, b"message")
    assert not public_key(KEY.public_hex).has_signed(signature, b"message.")
    assert not public_key(SigningKey.generate().public_hex).has_signed(signature, b"message")


@given(st.integers(0, 511))
def test_any_flipped_bit_of_a_signature_fails(bit: int) -> None:
    """Every bit counts."""
    signature = bytearray(KEY.sign(b"message"))
    signature[bit // 8] ^= 1 << bit % 8
    assert not public_key(KEY.public_hex).has_signed(bytes(signature), b"message")


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_fails_without_an_error(length: int) -> None:
    """Length is not the caller's business."""
    assert not public_key(KEY.public_hex).has_signed(b"\0" * length, b"message")


@pytest.mark.parametrize("point", LOW_ORDER_POINTS)
def test_a_key_of_low_order_is_refused(point: str) -> None:
    """With such a key anybody could sign anything."""
    with pytest.raises(BadEnvelope, match="low order"):
        public_key(LOW_ORDER_POINTS[point])


def test_the_danger_is_real() -> None:
    """OpenSSL itself accepts a forged signature under the identity: S = 0 and R = the identity."""
    identity = bytes.fromhex(LOW_ORDER_POINTS["the identity"])
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + b"\0" * 32, b"anything at all")


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A key has one spelling: 64 lower-case hex digits."""
    with pytest.raises(BadEnvelope):
        PublicKey(MALFORMED[text])


@given(st.binary(min_size=32, max_size=32))
def test_a_key_comes_back_from_its_seed(seed: bytes) -> None:
    """The seed is all there is to keep, and fresh keys are never of low order."""
    key = SigningKey(seed)
    assert SigningKey(key.seed).public_hex == key.public_hex
    assert public_key(key.public_hex).keyid == key.keyid == keyid_of(key.public_hex)


@pytest.mark.parametrize("point", LOW_ORDER_TRANSPORT)
def test_a_transport_key_of_low_order_is_refused(point: str) -> None:
    """Whatever is exchanged with such a key, everybody can read."""
    with pytest.raises(BadEnvelope):
        check_transport_key(LOW_ORDER_TRANSPORT[point])


@pytest.mark.parametrize("text", [text for text in MALFORMED if text not in {"capitals"}])
def test_what_is_no_transport_key_is_refused(text: str) -> None:
    """Malformed keys end as errors of ours."""
    with pytest.raises(BadEnvelope):
        check_transport_key(MALFORMED[text])


def test_a_transport_key_comes_back_from_its_secret() -> None:
    """And libzmq agrees about which public half belongs to it."""
    import zmq  # noqa: PLC0415
    from zmq.utils import z85  # noqa: PLC0415

    key = TransportKey.generate()
    check_transport_key(key.public)
    assert TransportKey.from_secret(key.secret) == key
    assert z85.decode(zmq.curve_public(z85.encode(bytes.fromhex(key.secret)))).hex() == key.public
