"""An envelope opens only if it is whole, of the right type, and signed by enough distinct keys of the role."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol import strict_json
from clarion_protocol.documents import Beacon, Deployment, Report, Signal
from clarion_protocol.dsse import MAX_ENVELOPE_BYTES, Envelope, Signature, digest, open_verified, pae, parse, seal
from clarion_protocol.errors import BadEnvelope, BadSignature, ClarionError, SignalError
from clarion_protocol.keys import SigningKey, keyid_of

KIND = Deployment.payload_type
ONE, TWO, STRANGER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
ROLE = [ONE.public_hex, TWO.public_hex]
PAYLOAD = b'{"what":"runs where"}'
GOOD = seal(KIND, PAYLOAD, [ONE])


def rewritten(change: Callable[[dict[str, Any]], object], raw: bytes = GOOD) -> bytes:
    """Return `raw` with its outer JSON changed, in canonical spelling again."""
    outer = msgspec.json.decode(raw)
    change(outer)
    return msgspec.json.encode(outer, order="sorted")


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def sign_with(key: SigningKey, keyid: str | None = None) -> dict[str, str]:
    return {"keyid": keyid or key.keyid, "sig": text(key.sign(pae(KIND, PAYLOAD)))}


ATTACKS: dict[str, bytes] = {
    "no signatures": rewritten(lambda outer: outer.update(signatures=[])),
    "signatures that are null": rewritten(lambda outer: outer.update(signatures=None)),
    "nine signatures": rewritten(lambda outer: outer.update(signatures=[sign_with(ONE)] * 9)),
    "10,000 signatures": rewritten(lambda outer: outer.update(signatures=[{"keyid": "a", "sig": ""}] * 10_000)),
    "an unknown key": seal(KIND, PAYLOAD, [STRANGER]),
    "a stranger's signature under a known key id": rewritten(
        lambda outer: outer.update(signatures=[sign_with(STRANGER, ONE.keyid)])
    ),
    "the right signature under an unknown key id": rewritten(
        lambda outer: outer.update(signatures=[sign_with(ONE, "0" * 64)])
    ),
    "the right signature without a key id": rewritten(lambda outer: outer["signatures"][0].pop("keyid")),
    "an empty signature": rewritten(lambda outer: outer["signatures"][0].update(sig="")),
    "another payload": rewritten(lambda outer: outer.update(payload=text(PAYLOAD + b" "))),
    "another payload type": rewritten(lambda outer: outer.update(payloadType=Signal.payload_type)),
    "another payload type, signed so": seal(Signal.payload_type, PAYLOAD, [ONE]),
    "a payload type in capitals": rewritten(lambda outer: outer.update(payloadType=KIND.upper())),
    "a payload type with a parameter": rewritten(lambda outer: outer.update(payloadType=f"{KIND};v=1")),
    "a signature over the bare payload": rewritten(
        lambda outer: outer["signatures"][0].update(sig=text(ONE.sign(PAYLOAD)))
    ),
    "url-safe base64": rewritten(lambda outer: outer.update(payload=base64.urlsafe_b64encode(b"\xfb\xff").decode())),
    "base64 with white space": rewritten(lambda outer: outer.update(payload=outer["payload"] + "\n")),
    "base64 without padding": rewritten(lambda outer: outer.update(payload=text(b"a").rstrip("="))),
    "base64 with bits to spare": rewritten(lambda outer: outer.update(payload="QR==")),
    "no base64 at all": rewritten(lambda outer: outer.update(payload="é")),
    "a signature in base64 that is not canonical": rewritten(
        lambda outer: outer["signatures"][0].update(sig=outer["signatures"][0]["sig"].replace("==", "") + "=\n")
    ),
    "an unsigned field beside the payload": rewritten(lambda outer: outer.update(note="act now")),
    "an unsigned field in a signature": rewritten(lambda outer: outer["signatures"][0].update(cert="x")),
    "a missing field": rewritten(lambda outer: outer.pop("payloadType")),
    "an array": b"[]",
    "nothing": b"",
    "white space in front": b" " + GOOD,
    "an envelope in an envelope": seal(KIND, GOOD, [STRANGER]),
    "longer than allowed": seal(KIND, b"x" * MAX_ENVELOPE_BYTES, [ONE]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack: str) -> None:
    """Every attack ends in an error that says whose fault it is, never in a payload."""
    with pytest.raises((BadEnvelope, BadSignature)):
        open_verified(ATTACKS[attack], KIND, ROLE)


def test_a_genuine_envelope_opens() -> None:
    """Opening returns exactly what was sealed."""
    assert open_verified(GOOD, KIND, ROLE) == PAYLOAD
    assert parse(GOOD).payloadType == KIND
    assert digest(PAYLOAD) == digest(open_verified(GOOD, KIND, ROLE))


def test_it_is_the_specifications_encoding() -> None:
    """The DSSE specification's own example (protocol.md)."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_refused(position: int, bit: int) -> None:
    """Payload, type, key id, signature, punctuation: every bit of the message counts."""
    changed = bytearray(GOOD)
    changed[position] ^= 1 << bit
    with pytest.raises(SignalError):
        open_verified(bytes(changed), KIND, ROLE)


@given(st.integers(0, len(GOOD) - 1))
def test_any_cut_is_refused(end: int) -> None:
    """A message that lost its end is no message."""
    with pytest.raises(BadEnvelope):
        open_verified(GOOD[:end], KIND, ROLE)


@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    """Garbage ends as an error of ours, so the loop that reads it has one kind to catch."""
    with pytest.raises(ClarionError):
        open_verified(raw, KIND, ROLE)


BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_a_signature_has_one_spelling() -> None:
    """Sixteen texts decode to the same 64 bytes; only the canonical one is taken, or a message had sixteen digests."""
    honest = text(ONE.sign(pae(KIND, PAYLOAD)))
    twins = [honest[:-3] + character + "==" for character in BASE64]
    same = [twin for twin in twins if base64.b64decode(twin) == base64.b64decode(honest) and twin != honest]
    assert len(same) == 15
    for twin in same:
        with pytest.raises(BadEnvelope, match="not canonical"):
            open_verified(GOOD.replace(honest.encode(), twin.encode()), KIND, ROLE)


def test_a_threshold_counts_distinct_keys() -> None:
    """Two keys make two; one key twice, under any key id, makes one."""
    assert open_verified(seal(KIND, PAYLOAD, [ONE, TWO]), KIND, ROLE, threshold=2) == PAYLOAD
    twice = [
        seal(KIND, PAYLOAD, [ONE, ONE]),
        seal(KIND, PAYLOAD, [ONE, STRANGER]),
        rewritten(lambda outer: outer["signatures"].append(sign_with(ONE, TWO.keyid))),
        rewritten(lambda outer: outer["signatures"].append(sign_with(ONE, keyid_of(STRANGER.public_hex)))),
    ]
    for raw in twice:
        with pytest.raises(BadSignature, match="1 valid"):
            open_verified(raw, KIND, ROLE, threshold=2)


def test_a_role_that_lists_one_key_twice_still_needs_two() -> None:
    """The threshold cannot be met by repeating a key in the policy either."""
    with pytest.raises(BadSignature):
        open_verified(GOOD, KIND, [ONE.public_hex, ONE.public_hex], threshold=2)


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_below_one_never_opens(threshold: int) -> None:
    """A mistake in a policy is no open door."""
    with pytest.raises(BadSignature):
        open_verified(GOOD, KIND, ROLE, threshold=threshold)


def test_a_role_without_keys_opens_nothing() -> None:
    """Nobody may means nobody may."""
    with pytest.raises(BadSignature):
        open_verified(GOOD, KIND, [])


def test_one_bad_signature_beside_enough_good_ones_does_no_harm() -> None:
    """An unknown co-signer is no reason to refuse."""
    assert open_verified(seal(KIND, PAYLOAD, [STRANGER, ONE]), KIND, ROLE) == PAYLOAD


@pytest.mark.parametrize("mine", [Deployment, Signal, Beacon, Report])
@pytest.mark.parametrize("theirs", [Deployment, Signal, Beacon, Report])
def test_no_kind_of_message_passes_for_another(mine: Any, theirs: Any) -> None:
    """The type is signed with the payload and compared by the reader."""
    raw = seal(theirs.payload_type, PAYLOAD, [ONE])
    if mine is theirs:
        assert open_verified(raw, mine.payload_type, ROLE) == PAYLOAD
        return
    with pytest.raises(BadEnvelope):
        open_verified(raw, mine.payload_type, ROLE)
    relabelled = rewritten(lambda outer: outer.update(payloadType=mine.payload_type), raw)
    with pytest.raises(BadSignature):
        open_verified(relabelled, mine.payload_type, ROLE)


def test_sealing_is_canonical() -> None:
    """What we send is what we would accept."""
    envelope = Envelope(text(PAYLOAD), KIND, [Signature(ONE.keyid, text(ONE.sign(pae(KIND, PAYLOAD))))])
    assert strict_json.dumps(envelope) == GOOD
