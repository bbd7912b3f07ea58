"""Whatever arrives, in whatever order and however often: nothing unsigned runs, and nothing goes backwards."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.rig import World
from tests.effort import examples

from clarion_protocol.documents import Deployment, Signal
from clarion_protocol.errors import SignalError
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import Verb

VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Traffic:
    """Everything that was ever sent to a host, genuine and forged, in order."""

    genuine: tuple[bytes, ...]
    forged: tuple[bytes, ...]


@contextlib.contextmanager
def a_world() -> Iterator[World]:
    """Give a host of its own to one example."""
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="clarion-test-") as folder:
        world = World(Path(folder))
        try:
            yield world
        finally:
            world.core.close()


def traffic_of(world: World) -> Traffic:
    """Return three deployments with their signals, and the same signed by keys of other roles and of nobody."""
    documents: list[Deployment | Signal] = []
    for number, version in enumerate(VERSIONS, start=1):
        order = world.order(world.publish(version, number))
        documents += [order, world.signal(order, Verb.STAGE), world.signal(order, Verb.LEASE)]
    stranger = SigningKey.generate()
    wrong_keys = {Deployment: (world.signaller, stranger), Signal: (world.deployer, world.beaconer, stranger)}
    forged = [document.sealed(key) for document in documents for key in wrong_keys[type(document)]]
    return Traffic(tuple(world.seal(document) for document in documents), tuple(forged))


def offer(world: World, envelope: bytes) -> bool:
    """Offer `envelope`, and return whether it was believed."""
    try:
        world.core.offer(envelope)
    except SignalError:
        return False
    return True


@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
@pytest.mark.timeout(300)
def test_any_order_with_repetitions_and_forgeries_never_goes_backwards(data: st.DataObject) -> None:
    """The releases that ran rise, no forgery is believed, and catching up leads to the newest."""
    with a_world() as world:
        traffic = traffic_of(world)
        sent = data.draw(st.lists(st.sampled_from([*traffic.genuine, *traffic.forged]), max_size=30))

        for envelope in sent:
            was_believed = offer(world, envelope)
            assert not (was_believed and envelope in traffic.forged)
            if data.draw(st.booleans()):
                world.settle()
        world.settle()
        before_catching_up = list(world.services.restarts)
        for envelope in traffic.genuine:
            offer(world, envelope)
        world.settle()

        assert before_catching_up == sorted(before_catching_up)
        assert world.services.restarts == sorted(world.services.restarts)
        assert world.current() == world.services.runs == "3-3.0.0"


@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
@pytest.mark.timeout(300)
def test_one_flipped_bit_anywhere_is_refused_and_forgotten(data: st.DataObject) -> None:
    """Whichever bit of whichever message: nothing is remembered, nothing runs."""
    with a_world() as world:
        traffic = traffic_of(world)
        offer(world, traffic.genuine[0])
        known = world.core.heads()

        for _ in range(40):
            envelope = data.draw(st.sampled_from(traffic.genuine))
            position, bit = data.draw(st.integers(0, len(envelope) - 1)), data.draw(st.integers(0, 7))
            flipped = envelope[:position] + bytes([envelope[position] ^ 1 << bit]) + envelope[position + 1 :]
            assert not offer(world, flipped)

        world.settle()
        assert world.core.heads() == known
        assert world.current() is None


@given(cut=st.integers(0, 8), seconds=st.integers(-(10**6), 10**6))
@settings(max_examples=examples(20), deadline=None)
@pytest.mark.timeout(300)
def test_a_recording_played_again_at_any_time_after_a_restart_changes_nothing(cut: int, seconds: int) -> None:
    """Floors survive restarts, whatever became of the clock."""
    with a_world() as world:
        traffic = traffic_of(world)
        for envelope in traffic.genuine:
            offer(world, envelope)
        world.settle()
        ran = list(world.services.restarts)

        world.clock += seconds
        world.restart_agent()
        for envelope in traffic.genuine[cut:]:
            offer(world, envelope)
        world.settle()

        assert world.services.restarts == ran
