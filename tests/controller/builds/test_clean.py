"""Removing what a build has left: all of it, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.builds.clean import remove_tree

pytestmark = pytest.mark.once

NAMES = st.text("ab.\n ", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
TREES = st.recursive(
    st.sampled_from(["file", "link", "pipe", "dangling"]),
    lambda inner: st.tuples(st.integers(0, 0o777), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=25,
)


def make(path: Path, tree: object, victim: Path) -> None:
    """Make a tree of files, links and folders of odd modes."""
    if isinstance(tree, tuple):
        mode, inner = tree
        path.mkdir()
        for name, below in inner.items():
            make(path / name, below, victim)
        path.chmod(mode)
    elif tree == "file":
        path.write_text("x")
    elif tree == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(victim if tree == "link" else "/nonexistent")


@given(tree=TREES)
def test_whatever_was_made_is_removed(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    """Any tree goes away as a whole, and what its links point to stays."""
    folder = tmp_path_factory.mktemp("clean")
    victim = folder / "victim"
    victim.mkdir()
    (victim / "kept").write_text("whole")
    make(folder / "tree", tree, victim)
    remove_tree(folder / "tree")
    assert [path.name for path in folder.iterdir()] == ["victim"]
    assert (victim / "kept").read_text() == "whole"


def deep(folder: Path, depth: int) -> Path:
    """Make folders within folders, each with a file."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(os.open("x", os.O_CREAT, dir_fd=below))
        os.close(here)
        here = below
    os.close(here)
    return folder


def test_no_depth_is_too_deep(tmp_path: Path) -> None:
    """Folders nested deeper than any path can say are removed, without recursion."""
    limit = sys.getrecursionlimit()
    tree = deep(tmp_path / "deep", 3000)
    remove_tree(tree)
    assert not tree.exists()
    assert sys.getrecursionlimit() == limit


def test_the_library_alone_would_not_do(tmp_path: Path) -> None:
    """What removes trees in Python's own library gives up on such a tree."""
    tree = deep(tmp_path / "deep", 3000)
    with pytest.raises((OSError, RecursionError)):
        shutil.rmtree(tree)
    remove_tree(tree)


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    """Removing nothing does nothing; a link is removed itself."""
    remove_tree(tmp_path / "nothing")
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
