"""The index of a manifest's file: what an older file has too, what is missing, and no harm if it lies."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.manifest_index import BEGINNING, MAX_GAP, fill, in_common, missing, read_index, write_index


def page(number: int, length: int = 3_000) -> bytes:
    """Return the bytes of a page that is like no other."""
    return bytes([number % 256]) * (length - 4) + struct.pack("<I", number)


def file_of(pages: list[bytes]) -> bytes:
    """Return a manifest's file; what is in its pages does not matter here."""
    return write_index(pages) + b"".join(pages)


def updated(old: bytes, new: bytes) -> tuple[bytes, int]:
    """Return what a host that has the file `old` makes of `new`, and how much of that it fetched."""
    beginning = new[:BEGINNING]
    pages = read_index(beginning, len(new))
    common = in_common(pages, old)
    spans = missing(pages, common)
    fetched = bytearray(beginning.ljust(max([len(beginning), *(span.offset + span.length for span in spans)]), b"\0"))
    for span in spans:
        fetched[span.offset : span.offset + span.length] = new[span.offset : span.offset + span.length]
    return fill(bytes(fetched), common, len(new)), len(beginning) + sum(span.length for span in spans)


def test_only_what_differs_is_fetched() -> None:
    """One page of a hundred costs the beginning and that page."""
    old = [page(number) for number in range(100)]
    new = [*old[:70], page(1000), *old[71:]]
    whole, moved = updated(file_of(old), file_of(new))
    assert whole == file_of(new)
    assert moved == BEGINNING + 3_000


def test_pages_near_each_other_cost_one_request() -> None:
    """A gap of two pages is fetched with them, a gap of ten is not."""
    old = [page(number) for number in range(100)]
    changed = {40, 43, 54}
    new = [page(1000 + number) if number in changed else old[number] for number in range(100)]
    index = read_index(file_of(new), len(file_of(new)))
    spans = missing(index, in_common(index, file_of(old)))
    assert [span.length for span in spans] == [4 * 3_000, 3_000]
    assert 2 * 3_000 < MAX_GAP < 10 * 3_000


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60),
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.sampled_from([40, 700, 5_000]),
)
def test_whatever_changes_the_new_file_comes_out(old: list[int], new: list[int], length: int) -> None:
    """Also where pages are gone, new, moved or there twice."""
    before, after = (file_of([page(number, length) for number in numbers]) for numbers in (old, new))
    assert updated(before, after)[0] == after


GOOD = file_of([page(1), page(2)])
NONE = {
    "nothing": b"",
    "an ordinary frame": b"\x28\xb5\x2f\xfd" + GOOD[4:],
    "half a record": GOOD[:4] + struct.pack("<I", 31) + GOOD[8:],
    "an index that does not end here": GOOD[:20],
    "an index that says it is larger than the file": GOOD[:4] + b"\xf0\xff\xff\xff" + GOOD[8:],
    "pages that are not all of the file": GOOD + b" ",
    "pages that are more than the file": GOOD[:-1],
}


@pytest.mark.parametrize("file", NONE.values(), ids=NONE.keys())
def test_what_is_no_index_says_nothing(file: bytes) -> None:
    """Then the manifest is fetched as a whole, or is refused."""
    assert read_index(file, len(file)) == []
