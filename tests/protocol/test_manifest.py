"""The manifest: what is listed is checked once and completely.

The table of bad packages follows the archives that broke other extractors (tar and zip
CVEs up to 2026); what those hid in headers would have to stand here in plain words.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_protocol.errors import BadManifest
from clarion_protocol.manifest import Manifest

HASH = "ab" * 32

Listing = dict[str, Any]


def file(path: str, offset: int = 512, **changes: Any) -> Listing:
    """Return the listing of a file of 10 bytes in frame 0."""
    fields = {"type": "file", "path": path, "mode": "0644", "size": 10, "sha256": HASH, "frame": 0, "offset": offset}
    return fields | changes


def folder(path: str) -> Listing:
    """Return the listing of a folder."""
    return {"type": "dir", "path": path}


def link(path: str, target: str) -> Listing:
    """Return the listing of a link."""
    return {"type": "symlink", "path": path, "target": target}


def listing(*entries: Listing, **changes: Any) -> Listing:
    """Return a manifest that is right but for `changes` and what `entries` break; clarion.toml is added."""
    every = sorted([*entries, file("clarion.toml", 100_000)], key=lambda entry: str(entry["path"]))
    return {
        "schema": 1,
        "app": "shop",
        "version": "1.2.0",
        "archive": {"length": 1000, "sha256": HASH},
        "totals": {"entries": len(every), "unpacked": sum(entry.get("size", 0) for entry in every)},
        "frames": [{"offset": 0, "length": 1000, "size": 200_000, "sha256": HASH}],
        "entries": every,
    } | changes


def raw(manifest: Listing) -> bytes:
    """Return the bytes of a listing, in the form that manifests have."""
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


GOOD = listing(
    file("a/run", mode="0755"),
    file("a/sub/data", 2048),
    folder("a"),
    folder("a/sub"),
    link("a/link", "sub/data"),
    link("a/sub/up", "../run"),
    link("current", "a/sub"),
)


def test_good_manifest_is_read_and_written_alike() -> None:
    """Reading and writing a manifest gives the same bytes."""
    manifest = Manifest.parse(raw(GOOD))
    assert manifest.to_bytes() == raw(GOOD)
    assert [entry.path for entry in manifest.files()] == ["a/run", "a/sub/data", "clarion.toml"]
    assert [entry.path for entry in manifest.folders()] == ["a", "a/sub"]
    assert [entry.path for entry in manifest.links()] == ["a/link", "a/sub/up", "current"]


BAD_PACKAGES: dict[str, tuple[Listing, str]] = {
    "an absolute path": (listing(file("/etc/cron.d/x")), "absolute"),
    "a path that climbs out": (listing(file("../x")), r"component \"\.\.\""),
    "a path that climbs in its middle": (listing(folder("a"), file("a/../../x")), r"component \"\.\.\""),
    "a dot in a path": (listing(file("./x")), "component"),
    "an empty name": (listing(file("")), "empty"),
    "a folder that ends with a slash": (listing(folder("a/")), "component"),
    "two slashes": (listing(folder("a"), file("a//x")), "component"),
    "a newline in a name": (listing(file("a\nb")), "control"),
    "a zero byte in a name": (listing(file("a\0b")), "control|not of this format|canonical"),
    "half a surrogate pair in a name": (listing(file("a\ud800")), "not of this format"),
    "a decomposed name": (listing(file("e\u0301")), "NFC"),
    "a component of 300 bytes": (listing(file("n" * 300)), "255"),
    "a path of 3,000 folders": (listing(file("/".join("d" * 3000))), "1024|64"),
    "the same path twice": (listing(file("a"), file("a", 2048)), "twice"),
    "a file over a folder": (listing(file("a"), folder("a")), "twice|out of order"),
    "a file as a folder": (listing(file("a"), file("a/b", 2048)), "lies in a file"),
    "a file below a link": (listing(folder("b"), link("a", "b"), file("a/c")), "lies in a link"),
    "a file below a link to the outside": (listing(link("a", "../../etc"), file("a/passwd")), "lies in a link|leaves"),
    "a folder that is not listed": (listing(file("a/b")), "folder of 'a/b' is not"),
    "an absolute link": (listing(link("a", "/etc/passwd")), "absolute"),
    "a link out of the package": (listing(link("a", "../../etc/passwd")), "leaves the package"),
    "a link that climbs after it descended": (listing(folder("b"), link("a", "b/../../x")), "component"),
    "a link to another link": (listing(file("c"), link("a", "b"), link("b", "c")), "itself a link"),
    "a chain of links out of the package": (
        listing(folder("d"), link("a", "d"), link("d/up", "../a"), file("d/x")),
        "itself a link",
    ),
    "a link through another link": (listing(folder("d"), file("d/x"), link("a", "d"), link("b", "a/x")), "not in the"),
    "a link to itself": (listing(link("a", "a")), "itself a link"),
    "a link to nothing": (listing(link("a", "b")), "not in the package"),
    "a link to the package itself": (listing(folder("b"), link("b/a", "..")), "empty"),
    "a hard link": (listing({"type": "hardlink", "path": "a", "target": "b"}), "not of this format"),
    "a device": (listing({"type": "char", "path": "null", "major": 1, "minor": 3}), "not of this format"),
    "a named pipe": (listing({"type": "fifo", "path": "pipe"}), "not of this format"),
    "a setuid bit": (listing(file("a", mode="4755")), "not of this format"),
    "a world-writable mode": (listing(file("a", mode="0666")), "not of this format"),
    "a mode that is a number": (listing(file("a", mode=493)), "not of this format"),
    "a negative size": (listing(file("a", size=-1)), "not of this format"),
    "a size of 2^70": (listing(file("a", size=2**70)), "not of this format"),
    "a size that is true": (listing(file("a", size=True)), "not of this format"),
    "a size with a decimal point": (listing(file("a", size=10.0)), "not of this format|canonical"),
    "a sparse file of 1 TB": (listing(file("a", size=2**40)), "outside its frame"),
    "a hash in capitals": (listing(file("a", sha256=HASH.upper())), "not of this format"),
    "a hash with a newline": (listing(file("a", sha256=HASH + "\n")), "not of this format"),
    "an owner": (listing(file("a", uid=0)), "unknown field"),
    "an extended attribute": (listing(file("a", xattrs={"security.capability": "x"})), "unknown field"),
    "a missing hash": (listing({k: v for k, v in file("a").items() if k != "sha256"}), "missing required"),
    "a frame that does not exist": (listing(file("a", frame=1)), "outside its frame"),
    "data beyond the end of its frame": (listing(file("a", 199_995)), "outside its frame"),
    "two files with the same data": (listing(file("a"), file("b")), "overlaps"),
    "two files that overlap by a byte": (listing(file("a"), file("b", 521)), "overlaps"),
    "a frame that starts late": (
        listing(frames=[{"offset": 1, "length": 999, "size": 200_000, "sha256": HASH}]),
        "does not follow",
    ),
    "frames that overlap": (
        listing(frames=[{"offset": 0, "length": 600, "size": 200_000, "sha256": HASH}] * 2),
        "does not follow",
    ),
    "an empty frame": (listing(frames=[{"offset": 0, "length": 0, "size": 0, "sha256": HASH}]), "does not follow"),
    "no frames": (listing(frames=[]), "outside its frame|the frames are 0 bytes"),
    "bytes after the last frame": (listing(archive={"length": 1001, "sha256": HASH}), "the archive 1001"),
    "a frame that grows 1000:1": (
        listing(
            archive={"length": 10_000_000, "sha256": HASH},
            frames=[{"offset": 0, "length": 10_000_000, "size": 10_000_000_000, "sha256": HASH}],
        ),
        "like a bomb",
    ),
    "many frames that each grow a little too much": (
        listing(
            *[file(f"f{n:03}", 512, frame=n, size=1_040_000) for n in range(1, 100)],
            archive={"length": 100 * 1000, "sha256": HASH},
            frames=[{"offset": n * 1000, "length": 1000, "size": 1_048_576, "sha256": HASH} for n in range(100)],
        ),
        "would grow",
    ),
    "totals that are too small": (listing(totals={"entries": 1, "unpacked": 1}), "totals"),
    "totals that miss an entry": (listing(file("a"), totals={"entries": 1, "unpacked": 20}), "totals"),
    "no clarion.toml": (listing() | {"entries": [], "totals": {"entries": 0, "unpacked": 0}}, "no clarion.toml"),
    "another schema": (listing(schema=2), "not of this format"),
    "an unknown field": (listing(hooks=["rm -rf /"]), "unknown field"),
    "an app with a path in its name": (listing(app="../shop"), "not of this format"),
    "a version with a newline": (listing(version="1.0\n"), "not of this format"),
}


@pytest.mark.parametrize(("manifest", "message"), BAD_PACKAGES.values(), ids=BAD_PACKAGES)
def test_bad_package_is_refused(manifest: Listing, message: str) -> None:
    """Every way to write outside, twice, too much or something else than files is refused by name."""
    with pytest.raises(BadManifest, match=message):
        Manifest.parse(raw(manifest))


def reversed_entries(text: bytes) -> bytes:
    """Return the manifest with its entries in the wrong order."""
    manifest = json.loads(text)
    return raw(manifest | {"entries": manifest["entries"][::-1]})


BAD_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "spaces between": lambda text: text.replace(b",", b", ", 1),
    "a newline at the end": lambda text: text + b"\n",
    "a second document behind": lambda text: text + text,
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "a key twice": lambda text: text.replace(b'"app":"shop"', b'"app":"evil","app":"shop"'),
    "a path twice in one entry": lambda text: text.replace(b'"path":"a"', b'"path":"b","path":"a"', 1),
    "an escaped letter": lambda text: text.replace(b'"shop"', b'"sho\\u0070"'),
    "fields in another order": lambda text: b'{"app":"shop",' + text[1:].replace(b'"app":"shop",', b"", 1),
    "entries in another order": reversed_entries,
    "a number with a sign": lambda text: text.replace(b'"size":10', b'"size":-0', 1),
    "a number with an exponent": lambda text: text.replace(b'"size":10', b'"size":1e1', 1),
    "NaN": lambda text: text.replace(b'"size":10', b'"size":NaN', 1),
    "the end cut off": lambda text: text[:-1],
    "nothing at all": lambda text: b"",
    "an HTML page": lambda text: b"<html>404</html>",
    "a zip": lambda text: b"PK\x03\x04" + text,
    "bytes that are not UTF-8": lambda text: text.replace(b"shop", b"sh\xffp"),
    "arrays without end": lambda text: b'{"entries":' + b"[" * 1_000_000,
    "objects without end": lambda text: b'{"frames":' + b'[{"x":' * 100_000,
    "32 MiB and a byte": lambda text: text + b" " * 2**25,
}


@pytest.mark.parametrize("change", BAD_BYTES.values(), ids=BAD_BYTES)
def test_second_spelling_is_refused(change: Callable[[bytes], bytes]) -> None:
    """There is one way to write a manifest; whatever another reader might read differently is refused."""
    with pytest.raises(BadManifest):
        Manifest.parse(change(raw(GOOD)))


@given(st.integers(0, len(raw(GOOD)) - 1), st.integers(0, 7))
def test_flipped_bit_is_refused_or_seen(byte: int, bit: int) -> None:
    """A manifest with one flipped bit either does not parse or says something else; it never passes for the same."""
    damaged = bytearray(raw(GOOD))
    damaged[byte] ^= 1 << bit
    try:
        manifest = Manifest.parse(bytes(damaged))
    except BadManifest:
        return
    assert manifest.to_bytes() == bytes(damaged)
    assert manifest != Manifest.parse(raw(GOOD))


def test_hundred_thousand_entries_are_refused() -> None:
    """A package with 100,000 entries is refused, and the error says how to leave some out."""
    with pytest.raises(BadManifest, match="100001 entries") as caught:
        Manifest.parse(raw(listing(*[folder(f"d{number:06}") for number in range(100_000)])))
    assert caught.value.hint is not None
    assert "exclude" in caught.value.hint


def test_refusing_a_limit_does_not_depend_on_other_rules() -> None:
    """Sizes over the limits are refused even when the frames could hold them."""
    whole = 17 * 2**30
    frame = {"offset": 0, "length": whole, "size": whole, "sha256": HASH}
    huge = [file(f"f{n}", n * 2**30, size=2**30) for n in range(17)]
    tail = [file("clarion.toml", whole - 10)]
    manifest = listing() | {
        "entries": [*tail, *sorted(huge, key=lambda entry: str(entry["path"]))],
        "archive": {"length": whole, "sha256": HASH},
        "frames": [frame | {"size": whole + 10}],
        "totals": {"entries": 18, "unpacked": whole + 10},
    }
    manifest["entries"][0]["offset"] = whole
    with pytest.raises(BadManifest, match=r"in files, more than 17\.2 GB"):
        Manifest.parse(raw(manifest))


def test_manifest_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    manifest = Manifest.parse(raw(GOOD))
    with pytest.raises(AttributeError):
        manifest.app = "other"  # type: ignore[misc]
    assert msgspec.structs.asdict(manifest)["app"] == "shop"
