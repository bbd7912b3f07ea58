"""The pages of a manifest: one way to write them, and few of them change in an update."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from clarion_protocol.entries import Entry, File, Folder, Frame, Link
from clarion_protocol.errors import BadManifest
from clarion_protocol.manifest import Archive, Manifest, Totals
from clarion_protocol.manifest_pages import read_pages, write_pages

NAMES = [f"lib/module_{number:05}.py" for number in range(2_000)]


def package(names: list[str], version: str = "1") -> Manifest:
    """Return the manifest of a package of these files, three to a frame; a file's content is its name."""
    names = ["clarion.toml", *names]
    files = [
        File(name, "0644", 10, _hash(name), number // 3, 512 + 1024 * (number % 3)) for number, name in enumerate(names)
    ]
    counts = [len(names[first : first + 3]) for first in range(0, len(names), 3)]
    frames = tuple(
        Frame(500 * number, 500, 1024 * count, _hash(" ".join(names[3 * number : 3 * number + 3])))
        for number, count in enumerate(counts)
    )
    everything: list[Entry] = [*files, Folder("lib"), Link("latest.py", "clarion.toml")]
    entries = tuple(sorted(everything, key=lambda entry: entry.path))
    archive = Archive(500 * len(frames), "cd" * 32)
    return Manifest(1, "shop", version, archive, Totals(len(entries), 10 * len(names)), frames, entries)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_manifest_comes_back_as_it_was() -> None:
    """Places and numbers that no page holds are counted from what stands before."""
    assert read_pages(write_pages(package(NAMES))) == package(NAMES)


def test_it_is_cut_into_pages_of_some_frames() -> None:
    """Some 40 for 2,670 hashes, and none without an end."""
    documents = write_pages(package(NAMES))
    assert 20 <= len(documents) <= 80
    assert max(map(len, documents)) < 5 * 64 * 160


CHANGES: dict[str, Callable[[], list[str]]] = {
    "a file at the end": lambda: [*NAMES[:-1], "lib/other.py"],
    "three files at the beginning": lambda: ["lib/a.py", "lib/b.py", "lib/c.py", *NAMES],
    "three files fewer in the middle": lambda: NAMES[:899] + NAMES[902:],
}


@pytest.mark.parametrize("names", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_touches_few_pages(names: Callable[[], list[str]]) -> None:
    """Wherever it is: the head, and a page or two."""
    before = set(write_pages(package(NAMES)))
    after = write_pages(package(names(), "2"))
    assert 2 <= sum(document not in before for document in after) <= 4


LISTED = write_pages(package(NAMES))
SPOILED = {
    "no pages": LISTED[:1],
    "no head": LISTED[1:],
    "two heads": [LISTED[0], *LISTED],
    "a page is missing": LISTED[:-2] + LISTED[-1:],
    "a page stands twice": [*LISTED, LISTED[-1]],
    "pages in another order": [LISTED[0], LISTED[2], LISTED[1], *LISTED[3:]],
    "two pages in one": [
        *LISTED[:2],
        LISTED[2].removesuffix(b"]}") + b"," + LISTED[3].removeprefix(b'{"frames":['),
        *LISTED[4:],
    ],
    "white space": [LISTED[0].replace(b",", b", "), *LISTED[1:]],
    "an unknown field": [LISTED[0].replace(b"{", b'{"more":1,', 1), *LISTED[1:]],
    "another schema": [LISTED[0].replace(b'"schema":2', b'"schema":1'), *LISTED[1:]],
    "a field twice": [LISTED[0].replace(b'"app":"shop"', b'"app":"shop","app":"shop"'), *LISTED[1:]],
    "a list that is not needed": [*LISTED[:-1], LISTED[-1].replace(b"{", b'{"folders":[],', 1)],
    "text that is no JSON": [LISTED[0], b"\xff", *LISTED[1:]],
    "nesting without end": [LISTED[0], b"[" * 100_000, *LISTED[1:]],
    "a name that climbs": [document.replace(b'"lib/module_00000.py"', b'"../module_00000.py"') for document in LISTED],
}


@pytest.mark.parametrize("documents", SPOILED.values(), ids=SPOILED.keys())
def test_any_other_spelling_is_refused(documents: list[bytes]) -> None:
    """As in one document: what is not written in the one way is no manifest."""
    with pytest.raises(BadManifest):
        read_pages(documents)
