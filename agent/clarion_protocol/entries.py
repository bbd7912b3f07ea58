"""What a manifest lists: folders, links and files of the package, and frames of its archive."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from clarion_protocol.documents import Sha256

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Mode = Literal["0644", "0755"]


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What every part of a manifest has in common: immutable, and no field but its own."""


class Folder(Closed, frozen=True, tag_field="type", tag="dir", gc=False):
    """A folder, always of mode 0755."""

    path: str


class Link(Closed, frozen=True, tag_field="type", tag="symlink", gc=False):
    """A symbolic link to another entry, relative to the folder it lies in."""

    path: str
    target: str


class File(Closed, frozen=True, tag_field="type", tag="file", gc=False):
    """A regular file; `offset` is where its data begins inside the decompressed frame."""

    path: str
    mode: Mode
    size: Natural
    sha256: Sha256
    frame: Natural
    offset: Natural


Entry = Folder | Link | File


class Frame(Closed, frozen=True, gc=False):
    """One zstd frame: where it lies in the archive, its hash as it lies there, and its size decompressed."""

    offset: Natural
    length: Natural
    size: Natural
    sha256: Sha256
