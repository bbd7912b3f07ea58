"""Packages in a folder: what the contract of all stores does not say of it (tests/clouds/test_stores.py does that)."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

import pytest

from clarion_controller.fleet_toml import fleet
from clarion_controller.stores.choose import store_of
from clarion_controller.stores.folder import FolderStore
from clarion_controller.stores.store import Span, Stored
from clarion_protocol.errors import BadConfig, BadContent, HostError, UnknownPackage

KEY = "shop/shop-1.0.0.tar.zst"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """Return an empty store whose folder is not there yet."""
    (tmp_path / "store").mkdir()
    return FolderStore(tmp_path / "store" / "packages")


def put(store: FolderStore, key: str, content: bytes) -> bool:
    """Put bytes."""
    file = store.path.parent / "upload"
    file.write_bytes(content)
    return store.put_if_absent(key, file, hashlib.sha256(content).hexdigest())


def test_what_is_put_can_be_got_whole_and_in_part(store: FolderStore) -> None:
    """The bytes come back, and a second put changes nothing."""
    assert put(store, KEY, b"0123456789")
    assert not put(store, KEY, b"other")
    assert b"".join(store.get(KEY)) == b"0123456789"
    assert b"".join(store.get(KEY, Span(3, 4))) == b"3456"
    assert store.head(KEY) == Stored(KEY, 10)
    assert list(store.list("shop/")) == [Stored(KEY, 10)]
    store.delete(KEY)
    assert store.head(KEY) is None


def test_a_file_lies_where_the_controller_serves_it(store: FolderStore) -> None:
    """The key is the path below the folder, readable for all, and nothing half written stays."""
    put(store, KEY, b"x")
    assert (store.path / KEY).stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in (store.path / "shop").iterdir()) == ["shop-1.0.0.tar.zst"]


def test_a_put_that_breaks_off_leaves_nothing(store: FolderStore) -> None:
    """Neither the object nor a half of it."""
    file = store.path.parent / "upload"
    file.write_bytes(b"not this")
    with pytest.raises(BadContent, match="nothing was stored"):
        store.put_if_absent(KEY, file, "0" * 64)
    assert list((store.path / "shop").iterdir()) == []


ESCAPES = {
    "a climb": "../secret", "a climb inside": "shop/../../secret", "an absolute path": "/etc/passwd", "nothing": "",
    "a dot": "./shop", "an empty component": "shop//x", "a slash at the end": "shop/", "a NUL": "shop/\x00",
    "a line": "shop/x\ny", "half a file of ours": "shop/.partial-x", "a lone surrogate": "shop/\ud800",
    "an endless name": "x" * 256, "an endless path": "/".join(["x" * 200] * 6),
}  # fmt: skip


@pytest.mark.parametrize("key", ESCAPES.values(), ids=ESCAPES.keys())
def test_no_key_leaves_the_folder(store: FolderStore, key: str) -> None:
    """Nothing can be put, got, found or deleted under a key that is no path inside."""
    (store.path.parent / "secret").write_text("secret")
    for call in (store.head, store.delete, lambda key: list(store.get(key)), partial(put, store, content=b"x")):
        with pytest.raises(UnknownPackage):
            call(key)
    assert (store.path.parent / "secret").read_text() == "secret"


def test_what_is_no_plain_file_does_not_exist(store: FolderStore) -> None:
    """A link, a folder or a pipe under a key is not followed, not waited for, and not overwritten."""
    (store.path / "shop/folder").mkdir(parents=True)
    (store.path / "shop/link").symlink_to("/etc/passwd")
    os.mkfifo(store.path / "shop/pipe")
    (store.path / "shop/file").write_text("x")
    for key in ("shop/folder", "shop/link", "shop/pipe", "shop/file/below"):
        assert store.head(key) is None
        with pytest.raises(UnknownPackage, match=f"no {key}"):
            list(store.get(key))
    assert [stored.key for stored in store.list()] == ["shop/file"]
    with pytest.raises(HostError, match="is no file"):
        put(store, "shop/link", b"x")
    assert (store.path / "shop/link").is_symlink()


def test_a_file_that_cannot_be_read_is_named(store: FolderStore, tmp_path: Path) -> None:
    """The error says which and why."""
    with pytest.raises(HostError, match="nowhere cannot be read: No such file"):
        store.put_if_absent(KEY, tmp_path / "nowhere", "0" * 64)


def test_the_home_is_chosen_without_a_bucket(tmp_path: Path) -> None:
    """Without [store], packages lie where they always lay."""
    assert store_of(fleet.Store(), tmp_path) == FolderStore(tmp_path / "store/packages")


def test_two_buckets_are_one_too_many(tmp_path: Path) -> None:
    """The error names both."""
    both = fleet.Store(s3=fleet.S3(bucket="acme"), gcs=fleet.Gcs(bucket="acme"))
    with pytest.raises(BadConfig, match="names s3 and gcs"):
        store_of(both, tmp_path)


@pytest.mark.parametrize("prefix", ["../others", "a//b", "a/./b", "a\nb"])
def test_a_prefix_that_is_no_path_is_told_at_once(tmp_path: Path, prefix: str) -> None:
    """Not when the first package is put."""
    with pytest.raises(BadConfig, match="prefix"):
        store_of(fleet.Store(s3=fleet.S3(bucket="acme", prefix=prefix)), tmp_path)
