"""What a host must never forget, and what it does when it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.effort import examples

from clarion_agent.floors import COPIES, FloorFiles, Floors, Orders, StreamFloors
from clarion_protocol.errors import TrustStateLost
from clarion_protocol.trust import Floor

digests = st.text("0123456789abcdef", min_size=64, max_size=64) | st.just("")
floors_of_streams = st.builds(
    StreamFloors,
    st.builds(Floor, st.integers(0, 9), st.integers(0, 2**63 - 1), digests),
    st.builds(Floor, st.integers(0, 9), st.integers(0, 2**63 - 1), digests),
    st.builds(Orders, st.booleans(), st.integers(0, 10**10), st.booleans(), st.booleans(), st.text(max_size=50)),
)
all_floors = st.builds(
    Floors, st.just(0), st.integers(0, 10**10), st.dictionaries(st.just("production/shop"), floors_of_streams)
)


@pytest.fixture
def files(tmp_path: Path) -> FloorFiles:
    """Return the files of a host that has just joined."""
    files = FloorFiles(tmp_path / "trust")
    files.begin()
    return files


@given(floors=all_floors)
@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_written_is_read_again(files: FloorFiles, floors: Floors) -> None:
    """A floor that cannot be read is a floor that is forgotten."""
    written = files.write(floors)

    assert files.read() == written
    assert (written.clock, written.streams) == (floors.clock, floors.streams)


def test_writing_alternates_so_that_one_copy_is_always_whole(files: FloorFiles) -> None:
    """The older copy is overwritten, never the newest."""
    before = {name: (files.folder / name).read_bytes() for name in COPIES}
    files.write(Floors(clock=1))
    once = {name: (files.folder / name).read_bytes() for name in COPIES}
    files.write(Floors(clock=2))
    twice = {name: (files.folder / name).read_bytes() for name in COPIES}

    assert sum(before[name] != once[name] for name in COPIES) == 1
    assert sum(once[name] != twice[name] for name in COPIES) == 1
    assert all(before[name] != twice[name] for name in COPIES)


def test_the_newest_copy_cut_off_anywhere_leaves_the_one_before(files: FloorFiles) -> None:
    """A torn write is noticed at every length."""
    older = files.write(Floors(clock=1))
    files.write(Floors(clock=2))
    newest = max(COPIES, key=lambda name: (files.folder / name).stat().st_mtime_ns)
    whole = (files.folder / newest).read_bytes()

    for length in range(len(whole)):
        (files.folder / newest).write_bytes(whole[:length])
        assert files.read() == older


def test_one_flipped_bit_is_noticed(files: FloorFiles) -> None:
    """The hash covers every byte that counts."""
    older = files.write(Floors(clock=1))
    files.write(Floors(clock=2))
    newest = max(COPIES, key=lambda name: (files.folder / name).stat().st_mtime_ns)
    whole = (files.folder / newest).read_bytes()

    for index in range(len(whole)):
        (files.folder / newest).write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert files.read() == older


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda folder: [(folder / name).write_bytes(b"") for name in COPIES], id="both copies are empty"),
        pytest.param(lambda folder: [(folder / name).unlink() for name in COPIES], id="both copies are gone"),
        pytest.param(shutil.rmtree, id="the folder is gone"),
    ],
)
def test_without_any_valid_copy_nothing_is_known(files: FloorFiles, lose: object) -> None:
    """The error says how to get out of it."""
    assert callable(lose)
    lose(files.folder)

    with pytest.raises(TrustStateLost) as caught:
        files.read()
    assert "clarion-agent join" in (caught.value.hint or "")


def test_beginning_again_keeps_valid_floors(files: FloorFiles) -> None:
    """A host that joins twice does not forget what it has accepted."""
    written = files.write(Floors(clock=7))

    files.begin()

    assert files.read() == written


def test_a_clock_never_goes_back() -> None:
    """What a signed message has proved stays proved."""
    assert Floors(clock=100).with_clock(50).clock == 100
