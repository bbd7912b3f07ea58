"""Two packages are bit-identical, or it is said what differs and why that may be."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from clarion_controller.build import build
from clarion_controller.nightly.compare import SHOWN, compare
from clarion_controller.nightly.contents import MAX_BYTES, Contents, from_file
from clarion_controller.stores.store import Span
from clarion_protocol.errors import BadContent
from clarion_protocol.manifest_file import read_manifest, reference_to

Files = dict[str, bytes]
METADATA = "lib/greeting-{}.dist-info/METADATA"


def packed(folder: Path, files: Files, modes: dict[str, int] | None = None) -> Contents:
    """Build a package of these files."""
    source = folder / "source"
    for name, content in {"clarion.toml": b'[app]\nname = "shop"\n', **files}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod((modes or {}).get(name, 0o644))
    built = build(source, folder / "out", "1.0.0")
    listing = built.manifest.read_bytes()
    return Contents(read_manifest(listing, reference_to(listing)), from_file(built.package))


def phrase(tmp_path: Path, before: Files, after: Files, sources: frozenset[str] = frozenset()) -> str:
    """Return how the difference of two packages is called."""
    published, rebuilt = packed(tmp_path / "before", before), packed(tmp_path / "after", after)
    return compare(published, rebuilt, sources.__contains__).phrase


def test_the_same_bytes_are_identical(tmp_path: Path) -> None:
    """And nothing else is said of them but what they are made of."""
    files = {METADATA.format("1.0"): b"", "app": b"x"}
    verdict = compare(packed(tmp_path / "a", files), packed(tmp_path / "b", files), lambda _: False)
    assert (verdict.phrase, verdict.findings, verdict.dependencies) == ("bit-identical", (), {"greeting": "1.0"})


STAMPED = b"built on 2026-11-%d at 03:17:%d, epoch 17951%d\n"
WHY: dict[str, tuple[Files, Files, str]] = {
    "a dependency that moved": (
        {METADATA.format("1.0"): b"", "lib/greeting.py": b"1"},
        {METADATA.format("1.1"): b"", "lib/greeting.py": b"2"},
        "differs: greeting 1.0 -> 1.1",
    ),
    "a module whose version is inside": (
        {"node_modules/ms/package.json": b'{"version": "2.0.0"}'},
        {"node_modules/ms/package.json": b'{"version": "2.1.3"}'},
        "differs: ms 2.0.0 -> 2.1.3",
    ),
    "only compiled Python": (
        {"a.pyc": b"1", "b.py": b"b"},
        {"a.pyc": b"2", "b.py": b"b"},
        "differs: only compiled Python (.pyc): another version of Python, or not compiled with unchecked-hash",
    ),
    "only timestamps": (
        {"build.txt": STAMPED % (20, 11, 43600)},
        {"build.txt": STAMPED % (21, 12, 43777)},
        "differs: only timestamps",
    ),
    "only the time in a gzip file": (
        {"x.gz": gzip.compress(b"x", mtime=1)},
        {"x.gz": gzip.compress(b"x", mtime=2)},
        "differs: only timestamps",
    ),
    "a real change beside a timestamp": (
        {"build.txt": STAMPED % (20, 11, 43600)},
        {"build.txt": STAMPED % (21, 12, 43777) + b"changed"},
        "differs in 1 file",
    ),
    "an unknown cause": ({"a": b"1", "b": b"1"}, {"a": b"2", "c": b"1"}, "differs in 3 files"),
    "a large file": ({"a": bytes(MAX_BYTES)[::-1] + b"11"}, {"a": bytes(MAX_BYTES) + b"12"}, "differs in 1 file"),
}


@pytest.mark.parametrize(("before", "after", "wanted"), WHY.values(), ids=WHY)
def test_it_is_said_why_they_may_differ(tmp_path: Path, before: Files, after: Files, wanted: str) -> None:
    """A dependency by name and versions, or what can be told of the files."""
    assert phrase(tmp_path, before, after) == wanted


def test_a_tag_that_was_moved_is_suspected(tmp_path: Path) -> None:
    """Where a file of the source itself differs, upstream is not to blame."""
    found = phrase(tmp_path, {"app.py": b"1"}, {"app.py": b"2"}, frozenset({"app.py"}))
    assert found == "differs: 1 file of the source itself, app.py first: has the tag been moved?"


def test_only_modes_are_told_apart(tmp_path: Path) -> None:
    """The content is the same."""
    before, after = packed(tmp_path / "a", {"run": b"x"}), packed(tmp_path / "b", {"run": b"x"}, {"run": 0o755})
    assert compare(before, after, lambda _: False).phrase == "differs: only the modes of files"


def test_the_list_of_files_is_bounded(tmp_path: Path) -> None:
    """Some by name, the others counted."""
    before, after = {f"f{n:03}": b"1" for n in range(100)}, {f"f{n:03}": b"2" for n in range(100)}
    findings = compare(packed(tmp_path / "a", before), packed(tmp_path / "b", after), lambda _: False).findings
    assert findings == (*(f"changed: f{n:03}" for n in range(SHOWN)), "changed: and 90 more")


def test_a_folder_is_named_only_where_nothing_in_it_is(tmp_path: Path) -> None:
    """Added files say as much."""
    before, after = packed(tmp_path / "a", {"x": b"x"}), packed(tmp_path / "b", {"x": b"x", "new/deep/file": b"1"})
    assert compare(before, after, lambda _: False).findings == ("added: new/deep/file",)


def test_a_published_package_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    """What is read of it is checked against its manifest."""
    path = "node_modules/ms/package.json"
    contents, other = packed(tmp_path / "a", {path: b'{"version": "2"}'}), packed(tmp_path / "b", {path: b"[" * 16})
    frame = other.manifest.frames[other.files[path].frame]
    changed = Contents(contents.manifest, lambda _span: other._fetch(Span(frame.offset, frame.length)))
    with pytest.raises(BadContent, match="differs from its hash"):
        changed.read(path)
