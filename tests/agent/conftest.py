"""What the agent's tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.programs import Programs
from tests.agent.rig import World


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory where there is one: tests sync thousands of times, and others use the disk too."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="clarion-test-") as folder:
        yield Path(folder)


@pytest.fixture
def world(fast_path: Path) -> Iterator[World]:
    """Give a host without any app, and its cluster."""
    world = World(fast_path)
    yield world
    world.core.close()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put stand-ins before the system's programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Programs(folder)
