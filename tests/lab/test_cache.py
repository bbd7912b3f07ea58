"""What the lab caches is whole, made once, and does not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .cache import Cache


def make_nothing(_: Path) -> None:
    """Make an empty entry."""


def test_a_broken_off_entry_is_made_anew(tmp_path: Path) -> None:
    """An entry whose maker failed is not there; the next maker starts from an empty folder."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("disk full")

    with Cache(tmp_path) as cache:
        with pytest.raises(OSError, match="disk full"):
            cache.entry("a", fail)
        whole = cache.entry("a", lambda folder: (folder / "whole").touch())
        assert [path.name for path in whole.iterdir()] == ["whole"]
    with Cache(tmp_path) as cache:
        assert cache.entry("a", fail) == whole


def test_an_unused_entry_is_pruned_unless_somebody_holds_it(tmp_path: Path) -> None:
    """What nobody has used for two weeks goes when something new is made; what a living run uses stays."""
    for key in ("old", "held"):
        with Cache(tmp_path) as cache:
            cache.entry(key, make_nothing)
    with Cache(tmp_path) as holder, Cache(tmp_path) as cache:
        holder.entry("held", make_nothing)
        for lock in (tmp_path / "locks").iterdir():
            os.utime(lock, (0, 0))
        cache.entry("new", make_nothing)
    assert {path.name for path in tmp_path.iterdir()} == {"held", "new", "locks"}
