"""Frames: ordinary tar records, the same bytes for the same files, and no belief in what a frame says."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.entries import Entry, File, Folder, Link
from clarion_protocol.errors import BadContent
from clarion_protocol.frames import (
    END_OF_ARCHIVE,
    GROUP,
    LARGE,
    Record,
    archive_order,
    compress,
    decompress,
    file_record,
    folder_record,
    group_records,
    link_record,
    record_of,
)
from clarion_protocol.zstd import CompressionParameter, ZstdCompressor

HASH = "ab" * 32


def frame(content: bytes) -> bytes:
    """Return one frame of `content`."""
    return b"".join(compress([content], len(content)))


def read(data: bytes, size: int) -> bytes:
    """Return the content of one frame that should be `size` bytes."""
    return b"".join(decompress([data], size))


def small_files(count: int) -> list[Record]:
    """Return the records of `count` small files."""
    return [file_record(f"src/module_{number:04}.py", 0o644, 900 + number * 7 % 5000) for number in range(count)]


def test_records_are_the_same_on_every_python() -> None:
    """The bytes of a record never change, or no package could be built twice."""
    records = [
        folder_record("d"),
        file_record("a/b", 0o755, 5),
        file_record("x" * 150, 0o644, 3),
        file_record("é", 0o644, 0),
        link_record("l", "a/b"),
        link_record("l", "t" * 150),
    ]
    digest = hashlib.sha256(b"".join(record.header for record in records)).hexdigest()
    assert digest == "cb20391f1f024ff6bb2a0a831ad16c288d9eacc8c4b3eeb9324adc066571faaa"


def test_record_says_only_what_the_manifest_says() -> None:
    """A record names no owner and no time."""
    info = tarfile.TarInfo.frombuf(file_record("bin/run", 0o755, 7).header, "utf-8", "strict")
    assert (info.name, info.mode, info.size, info.type) == ("bin/run", 0o755, 7, tarfile.REGTYPE)
    assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)


@given(
    st.dictionaries(
        st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/."), min_size=1, max_size=60),
        st.binary(max_size=2000),
        max_size=8,
    )
)
def test_records_are_an_ordinary_tar_archive(files: dict[str, bytes]) -> None:
    """Any names and contents come back out of the standard library's reader."""
    archive = bytearray()
    for path, data in files.items():
        record = file_record(path, 0o644, len(data))
        archive += record.header + data + record.padding
        assert record.length == len(record.header) + len(data) + len(record.padding)
    with tarfile.open(fileobj=io.BytesIO(archive + END_OF_ARCHIVE)) as tar:
        members = tar.getmembers()
        found = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    assert found == files


def test_record_of_an_entry_carries_its_mode_and_target() -> None:
    """What must stand in the archive follows from the manifest alone."""
    assert record_of(Folder("a")) == folder_record("a")
    assert record_of(Link("a", "b")) == link_record("a", "b")
    assert record_of(File("a", "0755", 9, HASH, 0, 512)) == file_record("a", 0o755, 9)


def test_archive_order_is_the_order_of_writing() -> None:
    """Folders come before what they hold, links after what they lead to, files where they lie."""
    late, early = File("a/x", "0644", 1, HASH, 2, 512), File("z", "0644", 1, HASH, 1, 512)
    entries: list[Entry] = [Folder("a"), Link("a/l", "x"), late, Folder("b"), early]
    assert archive_order(entries) == [Folder("a"), Folder("b"), early, late, Link("a/l", "x")]


def test_large_file_is_a_frame_of_its_own() -> None:
    """A file from 16 KiB is alone in its frame, so that it can be fetched alone."""
    large = file_record("large", 0o644, LARGE)
    groups = list(group_records([*small_files(5), large, *small_files(5)]))
    assert [large] in groups
    assert sum(len(group) for group in groups) == 11


def test_small_files_share_frames_of_about_64_kib() -> None:
    """Groups are neither tiny, nor larger than four times what is aimed at."""
    sizes = [sum(record.length for record in group) for group in group_records(small_files(3000))]
    assert GROUP / 2 < sum(sizes) / len(sizes) < GROUP * 1.5
    assert max(sizes) < GROUP * 4 + LARGE


def test_one_more_file_changes_only_frames_near_it() -> None:
    """Groups find their old ends again soon after a file was added."""
    before = small_files(3000)
    after = sorted([*before, file_record("src/module_1500a.py", 0o644, 3000)])
    old = {tuple(group) for group in group_records(before)}
    new = {tuple(group) for group in group_records(after)}
    assert len(new - old) <= 4


@given(st.binary(max_size=5000), st.integers(1, 50))
def test_frame_gives_back_what_was_put_in(content: bytes, pieces: int) -> None:
    """A frame survives being cut into pieces of any size on its way in and out."""
    step = max(1, len(content) // pieces)
    packed = b"".join(compress((content[i : i + step] for i in range(0, len(content), step)), len(content)))
    cut = [packed[i : i + step] for i in range(0, len(packed), step)]
    assert b"".join(decompress(cut, len(content))) == content


@given(st.data())
def test_damaged_frame_is_refused(data: st.DataObject) -> None:
    """No flipped bit passes unseen: the frame carries its own checksum."""
    content = bytes(range(256)) * 20
    packed = bytearray(frame(content))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(BadContent):
        assert read(bytes(packed), len(content)) == content  # a bit that zstd does not use


def wide_window(content: bytes) -> bytes:
    """Return a frame that asks its reader for 128 MiB of memory."""
    compressor = ZstdCompressor(options={CompressionParameter.window_log: 27})
    return bytes(compressor.compress(content) + compressor.flush())


CONTENT = b"data" * 1000
BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 10),
    "an HTML page": (b"<html>404</html>", 10),
    "a gzip file": (b"\x1f\x8b\x08" + bytes(40), 10),
    "a frame cut off": (frame(CONTENT)[:-1], len(CONTENT)),
    "a frame cut off in its middle": (frame(CONTENT)[:9], len(CONTENT)),
    "a byte behind the frame": (frame(CONTENT) + b"x", len(CONTENT)),
    "a second frame behind the first": (frame(CONTENT) + frame(CONTENT), 2 * len(CONTENT)),
    "an empty frame behind the first": (frame(CONTENT) + frame(b""), len(CONTENT)),
    "a skippable frame before it": (b"\x50\x2a\x4d\x18\x01\x00\x00\x00x" + frame(CONTENT), len(CONTENT)),
    "less than was promised": (frame(CONTENT), len(CONTENT) + 1),
    "a byte more than was promised": (frame(CONTENT), len(CONTENT) - 1),
    "a thousand times more than was promised": (frame(bytes(10**7)), 10**4),
    "a window of 128 MiB": (wide_window(CONTENT), len(CONTENT)),
}


@pytest.mark.parametrize(("data", "size"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_frame_is_refused(data: bytes, size: int) -> None:
    """A frame is exactly what the manifest says, whatever it says about itself."""
    with pytest.raises(BadContent):
        read(data, size)
    with pytest.raises(BadContent):
        b"".join(decompress((data[i : i + 1] for i in range(len(data))), size))


def test_endless_frame_is_read_no_further_than_promised() -> None:
    """A frame without end is left after the promised bytes and a piece."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        compressor = ZstdCompressor()
        while True:
            taken += 1
            yield compressor.compress(bytes(10**6), ZstdCompressor.FLUSH_BLOCK)

    with pytest.raises(BadContent, match="more than the manifest says"):
        b"".join(decompress(endless(), 5 * 10**6))
    assert taken <= 6


def test_bomb_is_opened_in_small_pieces() -> None:
    """A frame that grows 1000:1 never lies in memory as a whole."""
    bomb = frame(bytes(50 * 10**6))
    assert len(bomb) * 1000 < 50 * 10**6
    assert max(map(len, decompress([bomb], 50 * 10**6))) <= 256 * 1024
