"""What a rebuilt package has in common with the published one, and why it may differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePosixPath

from clarion_controller.nightly.contents import Contents
from clarion_controller.nightly.dependencies import dependencies_of, moved
from clarion_protocol.entries import Entry, File, Link
from clarion_protocol.manifest import Manifest

SHOWN = 10
MAX_LOOKED_AT = 20  # files whose content is compared: beyond that, it is no matter of a stamp

_MOMENTS = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
    rb"|\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [A-Z0-9][A-Za-z0-9 :,]{8,24}"
    rb"|[0-9]{2}:[0-9]{2}:[0-9]{2}|\b[0-9]{10}(\.[0-9]+)?\b"
)


@dataclass(frozen=True)
class Difference:
    """Which entries of two packages differ, by path; nothing at all if they are bit-identical."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    is_packed_alike: bool = True

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything that differs."""
        return (*self.added, *self.removed, *self.changed)

    @property
    def is_nothing(self) -> bool:
        """Whether the two are the same, bit for bit."""
        return self.is_packed_alike and not self.paths


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a rebuild: in one phrase, in lines for people, and what it was made of."""

    phrase: str
    findings: tuple[str, ...]
    dependencies: dict[str, str]


def difference(published: Manifest, rebuilt: Manifest) -> Difference:
    """Return what differs between the entries of two packages."""
    before, after = _entries(published), _entries(rebuilt)
    return Difference(
        added=_leaves(after.keys() - before.keys()),
        removed=_leaves(before.keys() - after.keys()),
        changed=tuple(sorted(path for path in after.keys() & before.keys() if after[path] != before[path])),
        is_packed_alike=published.archive.sha256 == rebuilt.archive.sha256,
    )


def compare(published: Contents, rebuilt: Contents, is_source: Callable[[str], bool]) -> Verdict:
    """Compare a rebuilt package with the published one; `is_source` tells whether a path is one of the source.

    Raises:
        ClarionError: the published one cannot be read.
    """
    found = difference(published.manifest, rebuilt.manifest)
    made_of = dependencies_of(rebuilt.files, rebuilt.read)
    if found.is_nothing:
        return Verdict("bit-identical", (), made_of)
    moves = moved(dependencies_of(published.files, _either(published, rebuilt)), made_of)
    why = moves or list(_hints(found, published, rebuilt, is_source))
    return Verdict(_phrase(found, why), (*why[1:], *_listed(found)), made_of)


def _entries(manifest: Manifest) -> dict[str, tuple[str, str]]:
    return {entry.path: _said_of(entry) for entry in manifest.entries}


def _leaves(paths: Set[str]) -> tuple[str, ...]:
    """Return the paths in order, without folders of which something inside is named anyway."""
    above = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return tuple(sorted(paths - above))


def _said_of(entry: Entry) -> tuple[str, str]:
    """Return what makes an entry what it is, wherever it lies in its archive."""
    if isinstance(entry, File):
        return (entry.mode, entry.sha256)
    return ("link", entry.target) if isinstance(entry, Link) else ("folder", "")


def _either(published: Contents, rebuilt: Contents) -> Callable[[str], bytes | None]:
    """Return what reads a file of the published package, from this machine's disk where the rebuilt one has it too."""

    def read(path: str) -> bytes | None:
        mine, theirs = rebuilt.files.get(path), published.files.get(path)
        is_same = mine is not None and theirs is not None and mine.sha256 == theirs.sha256
        return rebuilt.read(path) if is_same else published.read(path)

    return read


def _phrase(found: Difference, why: Sequence[str]) -> str:
    if not found.paths:
        return "the same files, packed by another version of zstd or Clarion"
    return f"differs: {why[0]}" if why else f"differs in {_count(found.paths)}"


def _hints(
    found: Difference, published: Contents, rebuilt: Contents, is_source: Callable[[str], bool]
) -> Iterator[str]:
    """Yield what may be the cause, where no dependency has moved."""
    sources = [path for path in found.changed if is_source(path)]
    if sources:
        yield f"{_count(sources)} of the source itself, {sources[0]} first: has the tag been moved?"
    elif found.paths and all(path.endswith(".pyc") for path in found.paths):
        yield "only compiled Python (.pyc): another version of Python, or not compiled with unchecked-hash"
    elif not (found.added or found.removed) and _is_modes(found.changed, published, rebuilt):
        yield "only the modes of files"
    elif not (found.added or found.removed) and _is_stamps(found.changed, published, rebuilt):
        yield "only timestamps"


def _is_modes(changed: Sequence[str], published: Contents, rebuilt: Contents) -> bool:
    return bool(changed) and all(
        path in published.files and path in rebuilt.files and published.files[path].sha256 == rebuilt.files[path].sha256
        for path in changed
    )


def _is_stamps(changed: Sequence[str], published: Contents, rebuilt: Contents) -> bool:
    """Return whether files are the same but for dates and times in them."""
    if not 0 < len(changed) <= MAX_LOOKED_AT:
        return False
    for path in changed:
        before, after = published.read(path), rebuilt.read(path)
        if before is None or after is None or _without_moments(before) != _without_moments(after):
            return False
    return True


def _without_moments(content: bytes) -> bytes:
    if content[:2] == b"\x1f\x8b":  # gzip (RFC 1952) has a time of its own in its bytes 4 to 7
        content = content[:4] + content[8:]
    return _MOMENTS.sub(b"@", content)


def _listed(found: Difference) -> Iterator[str]:
    """Yield which files differ: some by name, the others as a number."""
    for what, paths in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        yield from (f"{what}: {path}" for path in paths[:SHOWN])
        if len(paths) > SHOWN:
            yield f"{what}: and {len(paths) - SHOWN:,} more"


def _count(paths: Iterable[str]) -> str:
    number = len(list(paths))
    return "1 file" if number == 1 else f"{number:,} files"
