"""A manifest as it travels: JSON documents, the head and then pages, of which an update changes few.

- Nothing in a page depends on what stands before it: a frame says neither its number nor where
  it begins, and its files stand in it.
- Where a page ends depends on what it ends with. So one file more or less changes a page or two.
- There is one way to write a manifest; another one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

import msgspec

from clarion_protocol.documents import Name, Sha256, Version
from clarion_protocol.entries import Closed, Entry, File, Folder, Frame, Link, Mode, Natural
from clarion_protocol.errors import BadManifest
from clarion_protocol.manifest import Archive, Manifest, Totals

# Hashes, of frames and of files. Measured on 28,000 files of which 50 change, far from each other: with half as
# many, those pages are half as large, but all of them together 7 % larger.
PER_PAGE = 64

Item = TypeVar("Item")


class Head(Closed, frozen=True):
    """The first document: what is said of the package as a whole."""

    schema: Literal[2]
    app: Name
    version: Version
    archive: Archive
    totals: Totals


class PackedFile(Closed, frozen=True):
    """A file inside its frame; `offset` is where its data begins in it."""

    path: str
    mode: Mode
    size: Natural
    sha256: Sha256
    offset: Natural


class PackedFrame(Closed, frozen=True):
    """A frame, which follows the one before it, with the files in it."""

    length: Natural
    size: Natural
    sha256: Sha256
    files: tuple[PackedFile, ...]


class Page(Closed, frozen=True, omit_defaults=True):
    """Some folders, some frames or some links; each kind in its order, and the kinds in this one."""

    folders: tuple[str, ...] = ()
    frames: tuple[PackedFrame, ...] = ()
    links: tuple[Link, ...] = ()


def write_pages(manifest: Manifest) -> list[bytes]:
    """Return the documents of `manifest`."""
    head = Head(2, manifest.app, manifest.version, manifest.archive, manifest.totals)
    return [msgspec.json.encode(document) for document in (head, *_pages(manifest))]


def read_pages(documents: Sequence[bytes]) -> Manifest:
    """Return the manifest of `documents`, with every rule of the format checked.

    Raises:
        BadManifest: a rule is broken; the message names the rule and the entry.
    """
    try:
        head = msgspec.json.decode(documents[0], type=Head)
        pages = [msgspec.json.decode(document, type=Page) for document in documents[1:]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadManifest(f"the manifest is not of this format: {error}") from error
    packed = [frame for page in pages for frame in page.frames]
    entries = sorted(_entries(pages, packed), key=lambda entry: entry.path)
    frames = tuple(_frames(packed))
    manifest = Manifest(1, head.app, head.version, head.archive, head.totals, frames, tuple(entries))
    manifest.check()
    if write_pages(manifest) != list(documents):
        raise BadManifest("the manifest is not written in its one canonical form")
    return manifest


def _pages(manifest: Manifest) -> Iterator[Page]:
    for folders in _cut(manifest.folders(), lambda folder: (_hash(folder.path), 1)):
        yield Page(folders=tuple(folder.path for folder in folders))
    for frames in _cut(_packed(manifest), lambda frame: (frame.sha256, 1 + len(frame.files))):
        yield Page(frames=tuple(frames))
    for links in _cut(manifest.links(), lambda link: (_hash(link.path), 1)):
        yield Page(links=tuple(links))


def _cut(items: Iterable[Item], draw: Callable[[Item], tuple[str, int]]) -> Iterator[list[Item]]:
    """Yield items for one page after the other: `draw` tells an item's hash, which may end a page, and its weight."""
    page: list[Item] = []
    total = 0
    for item in items:
        digest, weight = draw(item)
        page.append(item)
        total += weight
        if int(digest[:8], 16) < weight * 2**32 // PER_PAGE or total >= PER_PAGE * 4:
            yield page
            page, total = [], 0
    if page:
        yield page


def _packed(manifest: Manifest) -> list[PackedFrame]:
    inside: list[list[PackedFile]] = [[] for _ in manifest.frames]
    for file in sorted(manifest.files(), key=lambda file: (file.frame, file.offset, file.path)):
        inside[file.frame].append(PackedFile(file.path, file.mode, file.size, file.sha256, file.offset))
    return [
        PackedFrame(frame.length, frame.size, frame.sha256, tuple(files))
        for frame, files in zip(manifest.frames, inside, strict=True)
    ]


def _entries(pages: Iterable[Page], packed: Iterable[PackedFrame]) -> Iterator[Entry]:
    for page in pages:
        yield from map(Folder, page.folders)
        yield from page.links
    for number, frame in enumerate(packed):
        for file in frame.files:
            yield File(file.path, file.mode, file.size, file.sha256, number, file.offset)


def _frames(packed: Iterable[PackedFrame]) -> Iterator[Frame]:
    offset = 0
    for frame in packed:
        yield Frame(offset, frame.length, frame.size, frame.sha256)
        offset += frame.length


def _hash(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()
