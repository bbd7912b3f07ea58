"""Frames: their words, their limits, and the small bodies that are not signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol import strict_json, wire
from clarion_protocol.documents import Head
from clarion_protocol.dsse import MAX_ENVELOPE_BYTES
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.wire import Ack, Ask, Down, Join, Up


def test_no_word_means_two_things() -> None:
    """Up, down and joining share no word, so a frame cannot be taken for one of another conversation."""
    words = [word.value for kind in (Up, Down, Join) for word in kind]
    assert len(words) == len(set(words))


def test_limits_fit_together() -> None:
    """Every envelope fits a frame; a handshake fits; a line outlives some lost heartbeats."""
    assert wire.MAX_FRAME_BYTES >= MAX_ENVELOPE_BYTES
    assert wire.MAX_FRAME_BYTES > 276  # libzmq's own handshake needs that much
    assert wire.HEARTBEAT_IVL_MS * 2 < wire.HEARTBEAT_TIMEOUT_MS <= wire.HEARTBEAT_TTL_MS
    assert wire.BEACON_INTERVAL_S * 3 < 120


def test_a_question_of_a_host_with_hundreds_of_apps_fits() -> None:
    """The heads of 400 streams with the longest names stay within the small body."""
    heads = {f"{'e' * 63}/{n:063d}": Head(1, 1) for n in range(350)}
    assert len(strict_json.dumps(Ask(heads))) < wire.MAX_SMALL_BODY


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"heads":null}',
        b'{"heads":{"shop":{"deployment_seq":1,"signal_seq":1}}}',
        b'{"heads":{"p/s":{"deployment_seq":-1,"signal_seq":1}}}',
        b'{"heads":{"p/s":{"deployment_seq":1}}}',
        b'{"heads":{"p/s":{"deployment_seq":1,"signal_seq":1},"p/s":{"deployment_seq":2,"signal_seq":1}}}',
        b'{"heads":{"p/../s":{"deployment_seq":1,"signal_seq":1}}}',
        b'{"heads":{},"host":"b"}',
    ],
    ids=["empty", "null", "no stream", "negative", "half a head", "a stream twice", "a path", "another's name"],
)
def test_a_malformed_question_is_refused(body: bytes) -> None:
    """Questions are not signed, but as strict as what is."""
    with pytest.raises(BadEnvelope):
        strict_json.decode(body, Ask, max_bytes=wire.MAX_SMALL_BODY)


@pytest.mark.parametrize("body", [b"{}", b'{"seq":-1}', b'{"seq":"1"}', b'{"seq":9223372036854775808}', b'{"seq":1.0}'])
def test_a_malformed_acknowledgement_is_refused(body: bytes) -> None:
    """A host forgets reports only at a clear word."""
    with pytest.raises(BadEnvelope):
        strict_json.decode(body, Ack, max_bytes=wire.MAX_SMALL_BODY)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_small_bodies_come_back_as_they_went(deployment: int, signal: int) -> None:
    """For every sequence number that there can be."""
    ask = Ask({"production/shop": Head(deployment, signal)})
    assert strict_json.decode(strict_json.dumps(ask), Ask, max_bytes=1000) == ask
    assert strict_json.decode(strict_json.dumps(Ack(signal)), Ack, max_bytes=1000) == Ack(signal)
