"""Ranges: what is linked, what is fetched, and in how few requests."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.entries import File, Frame
from clarion_protocol.manifest import Archive, Manifest, Totals
from clarion_protocol.ranges import MAX_GAP, Span, merge, plan


def file(path: str, content: str, frame: int = 0, *, mode: str = "0644", size: int = 10) -> File:
    """Return a file whose hash is made of the letter `content`."""
    return File(path, "0755" if mode == "0755" else "0644", size, content * 64, frame, 512)


def package(*files: File, frame_length: int = 100) -> Manifest:
    """Return a manifest of `files` with as many frames as they name; only what planning reads is right."""
    count = max((entry.frame for entry in files), default=0) + 1
    frames = tuple(Frame(number * frame_length, frame_length, 4096, "0" * 64) for number in range(count))
    return Manifest(1, "shop", "1", Archive(count * frame_length, "0" * 64), Totals(len(files), 0), frames, files)


def test_first_release_fetches_all_that_holds_data() -> None:
    """Without an old release every frame with a file in it is needed, and one request fetches them."""
    made = plan(package(file("a", "a", 0), file("b", "b", 1)), [])
    assert made.links == {}
    assert made.frames == (0, 1)
    assert made.spans == (Span(0, 200),)
    assert made.length == 200


def test_unchanged_release_fetches_nothing() -> None:
    """A package of files that are all here moves no bytes."""
    files = [file("a", "a"), file("b", "b", 1)]
    made = plan(package(*files), files)
    assert made.links == {"a": "a", "b": "b"}
    assert (made.frames, made.spans, made.length) == ((), (), 0)


def test_moved_file_is_linked_from_where_it_was() -> None:
    """A file is known by its content, not by its name."""
    made = plan(package(file("new/name", "a")), [file("old/name", "a")])
    assert made.links == {"new/name": "old/name"}


def test_same_path_is_preferred() -> None:
    """Equal files are each linked from their own path, so that no inode collects all links."""
    files = [file("a", "a"), file("b", "a"), file("c", "a")]
    assert plan(package(*files), files).links == {"a": "a", "b": "b", "c": "c"}


def test_same_content_with_another_mode_is_fetched() -> None:
    """Links share one mode, so a file that became executable is made anew."""
    made = plan(package(file("run", "a", mode="0755")), [file("run", "a")])
    assert made.links == {}
    assert made.frames == (0,)


def test_empty_file_is_neither_linked_nor_fetched() -> None:
    """There is nothing in an empty file to save."""
    made = plan(package(file("empty", "e", size=0)), [file("empty", "e", size=0)])
    assert (made.links, made.frames) == ({}, ())


def test_small_gaps_are_fetched_along() -> None:
    """Two ranges become one request when what lies between is no more than the gap."""
    near = [Frame(0, 10, 1, ""), Frame(10 + MAX_GAP, 10, 1, "")]
    far = [Frame(0, 10, 1, ""), Frame(11 + MAX_GAP, 10, 1, "")]
    assert merge(near, MAX_GAP) == (Span(0, MAX_GAP + 20),)
    assert merge(far, MAX_GAP) == (Span(0, 10), Span(11 + MAX_GAP, 10))


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=40), st.integers(0, 500))
def test_spans_cover_what_is_needed_and_are_apart(lengths: list[tuple[int, bool]], gap: int) -> None:
    """Every needed frame lies in exactly one span; spans are sorted, and further apart than the gap."""
    offset, needed = 0, []
    for length, wanted in lengths:
        if wanted:
            needed.append(Frame(offset, length, 1, ""))
        offset += length
    spans = merge(needed, gap)
    for frame in needed:
        holders = [s for s in spans if s.offset <= frame.offset and frame.offset + frame.length <= s.offset + s.length]
        assert len(holders) == 1
    for first, second in pairwise(spans):
        assert second.offset - (first.offset + first.length) > gap
