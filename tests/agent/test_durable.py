"""The primitives that change the disk: all or nothing, and in an order that survives a power cut."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_agent import durable

Trace = list[tuple[str, str]]


@pytest.fixture
def trace() -> Iterator[Trace]:
    """Return the list in which each durable operation is noted with its path's name."""
    seen: Trace = []

    def note(operation: str, path: Path) -> None:
        seen.append((operation, path.name))

    durable.watchers.append(note)
    yield seen
    durable.watchers.remove(note)


def test_a_file_is_synced_before_its_rename_and_its_folder_after(tmp_path: Path, trace: Trace) -> None:
    """Whatever a rename exposes is on the disk first."""
    durable.write_atomic(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert trace == [
        ("write", "a.tmp"),
        ("fsync", "a.tmp"),
        ("rename", "a"),
        ("fsync", tmp_path.name),
    ]


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    """The mode is 0600 unless told otherwise, whatever the umask."""
    durable.write_atomic(tmp_path / "key", b"secret")
    durable.write_atomic(tmp_path / "flag", b"", mode=0o644)

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "flag").stat().st_mode) == 0o644


def test_a_leftover_or_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """The temporary file is always a new one."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "a.tmp").symlink_to(victim)

    durable.write_atomic(tmp_path / "a", b"new")

    assert victim.read_bytes() == b"untouched"


def test_a_link_is_replaced_by_one_rename(tmp_path: Path, trace: Trace) -> None:
    """There is never a moment without a link."""
    link = tmp_path / "current"
    durable.replace_symlink(link, "releases/1")
    durable.replace_symlink(link, "releases/2")

    assert str(link.readlink()) == "releases/2"
    assert trace[3:] == [("symlink", "current.tmp"), ("rename", "current"), ("fsync", tmp_path.name)]


def test_moving_into_place_never_replaces(tmp_path: Path) -> None:
    """A release that has a name keeps it."""
    (tmp_path / "new").mkdir()
    (tmp_path / "taken").mkdir()

    with pytest.raises(FileExistsError):
        durable.move_into_place(tmp_path / "new", tmp_path / "taken")

    assert (tmp_path / "new").is_dir()


def test_moving_into_place_syncs_both_folders(tmp_path: Path, trace: Trace) -> None:
    """A rename between folders changes two of them."""
    (tmp_path / "from/new").mkdir(parents=True)
    (tmp_path / "to").mkdir()

    durable.move_into_place(tmp_path / "from/new", tmp_path / "to/new")

    assert (tmp_path / "to/new").is_dir()
    assert trace == [("rename", "new"), ("fsync", "to"), ("fsync", "from")]


def test_a_sync_that_fails_is_an_error(tmp_path: Path) -> None:
    """A lost write must not look like a durable one."""
    with pytest.raises(OSError, match="No such file"):
        durable.sync_tree(tmp_path / "nowhere")


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    """What a release links to outside of it stays."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"stays")
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/out").symlink_to(tmp_path / "outside")

    durable.remove_tree(tmp_path / "tree")
    durable.remove_tree(tmp_path / "tree")

    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "outside/file").read_bytes() == b"stays"


def test_folders_are_made_with_their_parents_and_modes(tmp_path: Path) -> None:
    """What is there already is left as it is."""
    durable.make_folder(tmp_path / "a/b", mode=0o700)
    durable.make_folder(tmp_path / "a", mode=0o755)

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700


def test_removing_what_is_not_there_is_fine(tmp_path: Path, trace: Trace) -> None:
    """And costs nothing."""
    durable.remove_file(tmp_path / "nothing")

    assert trace == []
