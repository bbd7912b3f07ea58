"""What the agent's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.rig import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give a host without any app, and its cluster."""
    world = World(tmp_path)
    yield world
    world.core.close()
