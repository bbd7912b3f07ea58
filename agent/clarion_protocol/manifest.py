"""The manifest: everything that a package contains, where it lies in the archive, and its hashes.

A package is `<app>-<version>.tar.zst`, made of independent zstd frames, and this signed
list. An agent believes the list and never parses tar, so what was checked and what is
written to disk cannot differ. `Manifest.parse` checks every rule of the format, once:

- the bytes are exactly those that `to_bytes` writes: no second spelling, no unknown field,
  no key twice, no entry out of order;
- names keep the rules of `package_paths`; every parent is an entry and a folder;
- a link leads to an entry that is a file or a folder, never to or through another link;
- frames follow each other without gap or overlap, and so do the files inside a frame;
- no more entries, bytes, or bytes per compressed byte than the limits below.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from clarion_protocol import manifest_rules
from clarion_protocol.documents import Name, Sha256, Version
from clarion_protocol.entries import Closed, Entry, File, Folder, Frame, Link, Natural
from clarion_protocol.errors import BadManifest

SCHEMA = 1
MAX_MANIFEST_BYTES = 32 * 2**20


class Archive(Closed, frozen=True):
    """The archive as a whole."""

    length: Natural
    sha256: Sha256


class Totals(Closed, frozen=True):
    """What a host needs to know before it makes room: how many entries, and bytes in files."""

    entries: Natural
    unpacked: Natural


class Manifest(Closed, frozen=True, gc=True):
    """A package's table of contents, already checked if it came from `parse` or `manifest_pages.read_pages`.

    The pages are how it is written; `parse` and `to_bytes` are for older packages.
    """

    schema: Literal[1]
    app: Name
    version: Version
    archive: Archive
    totals: Totals
    frames: tuple[Frame, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Return the manifest that `raw` holds, with every rule of the format checked.

        Raises:
            BadManifest: `raw` breaks a rule; the message names the rule and the entry.
        """
        if len(raw) > MAX_MANIFEST_BYTES:
            raise BadManifest(f"the manifest is larger than {MAX_MANIFEST_BYTES // 2**20} MiB")
        try:
            manifest = msgspec.json.decode(raw, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadManifest(f"the manifest is not of this format: {error}") from error
        manifest.check()
        if manifest.to_bytes() != raw:
            raise BadManifest("the manifest is not written in its one canonical form")
        return manifest

    def to_bytes(self) -> bytes:
        """Return the one way to write this manifest: compact JSON, fields and entries in their order."""
        return msgspec.json.encode(self)

    def check(self) -> None:
        """Check every rule that goes beyond the types of single fields.

        Raises:
            BadManifest: a rule is broken.
        """
        manifest_rules.check_tree(self.entries)
        manifest_rules.check_frames(self.frames, self.archive.length)
        manifest_rules.check_slices(self.files(), self.frames)
        manifest_rules.check_totals(self)

    def files(self) -> list[File]:
        """Return the regular files, by path."""
        return [entry for entry in self.entries if isinstance(entry, File)]

    def folders(self) -> list[Folder]:
        """Return the folders, each after its parent."""
        return [entry for entry in self.entries if isinstance(entry, Folder)]

    def links(self) -> list[Link]:
        """Return the symbolic links, by path."""
        return [entry for entry in self.entries if isinstance(entry, Link)]
