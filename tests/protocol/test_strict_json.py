"""One document has one spelling; everything else is refused, whatever other readers would make of it."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol import strict_json
from clarion_protocol.errors import BadEnvelope, JoinRefused


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A closed schema as all of ours are."""

    env: str
    seq: int
    share: float = 0.5


GOOD = b'{"env":"prod","seq":7,"share":0.5}'

ATTACKS = {
    "a key twice": b'{"env":"prod","env":"test","seq":7,"share":0.5}',
    "a key twice, spelled differently": b'{"env":"prod","\\u0065nv":"test","seq":7,"share":0.5}',
    "NaN": b'{"env":"prod","seq":7,"share":NaN}',
    "Infinity": b'{"env":"prod","seq":7,"share":Infinity}',
    "a number beyond what a float holds": b'{"env":"prod","seq":7,"share":1e999}',
    "a number of 5,000 digits": b'{"env":"prod","seq":%s,"share":0.5}' % (b"7" * 5000),
    "depth of 100,000": b"[" * 100_000,
    "a lone surrogate": b'{"env":"\\ud800","seq":7,"share":0.5}',
    "bytes that are not UTF-8": b'{"env":"\xff\xfe","seq":7,"share":0.5}',
    "an overlong encoding": b'{"env":"\xc0\x80","seq":7,"share":0.5}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "something after the value": GOOD + b"{}",
    "a newline after the value": GOOD + b"\n",
    "white space inside": b'{"env": "prod","seq":7,"share":0.5}',
    "keys in another order": b'{"seq":7,"env":"prod","share":0.5}',
    "an unknown field": b'{"env":"prod","extra":1,"seq":7,"share":0.5}',
    "a missing field": b'{"env":"prod","share":0.5}',
    "a default that is left out": b'{"env":"prod","seq":7}',
    "a string where a number is due": b'{"env":"prod","seq":"7","share":0.5}',
    "a float where a whole number is due": b'{"env":"prod","seq":7.0,"share":0.5}',
    "true where a number is due": b'{"env":"prod","seq":true,"share":0.5}',
    "null": b"null",
    "an array of the fields": b'["prod",7,0.5]',
    "an escape that was not needed": b'{"env":"\\u0070rod","seq":7,"share":0.5}',
    "a number with a plus": b'{"env":"prod","seq":+7,"share":0.5}',
    "a number with leading zeros": b'{"env":"prod","seq":007,"share":0.5}',
    "a number in another notation": b'{"env":"prod","seq":7,"share":5e-1}',
    "comments": b'{"env":"prod",/**/"seq":7,"share":0.5}',
    "single quotes": b"{'env':'prod','seq':7,'share':0.5}",
    "UTF-16": GOOD.decode().encode("utf-16"),
    "compressed": gzip.compress(GOOD),
    "MessagePack": msgspec.msgpack.encode(Order("prod", 7)),
    "nothing": b"",
}


def test_the_one_spelling_is_accepted() -> None:
    """What `dumps` writes is what `decode` reads."""
    assert strict_json.decode(GOOD, Order, max_bytes=100) == Order("prod", 7)
    assert strict_json.dumps(Order("prod", 7)) == GOOD


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack: str) -> None:
    """No other spelling, no other shape."""
    with pytest.raises(BadEnvelope):
        strict_json.decode(ATTACKS[attack], Order, max_bytes=1_000_000)


def test_one_byte_too_long_is_refused_before_it_is_parsed() -> None:
    """The limit counts bytes, and holds for valid documents too."""
    assert strict_json.decode(GOOD, Order, max_bytes=len(GOOD))
    with pytest.raises(BadEnvelope, match="35 bytes"):
        strict_json.decode(GOOD + b" ", Order, max_bytes=len(GOOD))


def test_the_caller_chooses_whose_fault_it_is() -> None:
    """A damaged token is no bad envelope."""
    with pytest.raises(JoinRefused):
        strict_json.decode(b"{}", Order, max_bytes=100, error=JoinRefused)


@given(st.text(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
def test_every_value_comes_back_as_it_went(env: str, seq: int, share: float) -> None:
    """Writing and reading lose nothing, for any text and number that JSON can hold."""
    order = Order(env, seq, share)
    try:
        raw = strict_json.dumps(order)
    except UnicodeEncodeError:
        return  # a lone surrogate: there is no spelling for it
    assert strict_json.decode(raw, Order, max_bytes=10**6) == order


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_another_document_or_none(position: int, flip: int) -> None:
    """No two byte strings are read as the same document."""
    changed = bytearray(GOOD)
    changed[position] ^= flip
    with suppress(BadEnvelope):
        assert strict_json.decode(bytes(changed), Order, max_bytes=100) != Order("prod", 7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(JSON)
def test_what_it_accepts_other_readers_understand_alike(value: Any) -> None:
    """Python's own reader finds the same value in every accepted document."""
    try:
        raw = strict_json.dumps(value)
    except UnicodeEncodeError:
        return
    assert json.loads(strict_json.dumps(strict_json.decode(raw, Any, max_bytes=10**6))) == value
