"""Private keys as files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from clarion_controller.key_files import KeyFolder
from clarion_protocol.errors import BadConfig
from clarion_protocol.keys import public_key


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    """Make an empty folder of keys."""
    return KeyFolder(tmp_path / "keys")


def test_a_key_comes_back_as_it_was_made(keys: KeyFolder) -> None:
    """What was written is what signs."""
    made = keys.make("root")
    assert keys.read("root").public_hex == made.public_hex
    assert keys.has("root")
    assert not keys.has("targets")
    transport = keys.make_transport()
    assert keys.read_transport() == transport


def test_only_the_owner_can_read_a_key(keys: KeyFolder) -> None:
    """Each file is 0600 in a folder of 0700, whatever the umask."""
    before = os.umask(0)
    try:
        keys.make("root")
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(keys.file("root").stat().st_mode) == 0o600
    assert [path.name for path in keys.path.iterdir()] == ["root.key"]


def test_a_key_is_never_overwritten(keys: KeyFolder) -> None:
    """Making it twice is refused, and the first one stays."""
    made = keys.make("root")
    with pytest.raises(BadConfig, match="never overwritten"):
        keys.make("root")
    assert keys.read("root").public_hex == made.public_hex


def test_a_key_signs_tuf_metadata(keys: KeyFolder) -> None:
    """python-tuf takes the very same key."""
    made = keys.make("timestamp")
    metadata = Metadata(Timestamp())
    signature = metadata.sign(keys.tuf_signer("timestamp"))
    assert public_key(made.public_hex).has_signed(bytes.fromhex(signature.signature), metadata.signed_bytes)


def become_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def become_pipe(path: Path) -> None:
    """Put a pipe in a file's place."""
    path.unlink()
    os.mkfifo(path, 0o600)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "the group can read it": (lambda path: path.chmod(0o640), "chmod 600"),
    "everybody can read it": (lambda path: path.chmod(0o604), "chmod 600"),
    "others can write it": (lambda path: path.chmod(0o602), "chmod 600"),
    "it was taken offline": (lambda path: path.unlink(), "taken offline"),
    "it is empty": (lambda path: path.write_text(""), "no key file"),
    "it is a comment only": (lambda path: path.write_text("# nothing\n"), "no key file"),
    "it holds two keys": (lambda path: path.write_text(f"ed25519 {'0' * 64}\n" * 2), "no key file"),
    "its key is too short": (lambda path: path.write_text(f"ed25519 {'0' * 63}\n"), "no key file"),
    "it is another kind of key": (lambda path: path.write_text(f"curve25519 {'0' * 64}\n"), "kind curve25519"),
    "it is not text": (lambda path: path.write_bytes(b"\xff\x00" * 64), "no key file"),
    "it is a PEM file": (lambda path: path.write_text("-----BEGIN PRIVATE KEY-----\nMC4=\n"), "no key file"),
    "it is a folder": (become_folder, "not a plain file"),
    "it is a pipe": (become_pipe, "not a plain file"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD.values(), ids=BAD.keys())
def test_a_key_that_is_not_in_order_is_refused(keys: KeyFolder, spoil: Callable[[Path], object], words: str) -> None:
    """The error names the file and what to do, and never shows the key."""
    secret = keys.make("root").seed.hex()
    spoil(keys.file("root"))
    with pytest.raises(BadConfig) as caught:
        keys.read("root")
    assert words in str(caught.value)
    assert str(keys.file("root")) in str(caught.value)
    assert secret not in str(caught.value)
