"""What a builder says that finds no controller: what the command line says, not numbers of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.nobody import as_nobody

from clarion_controller.builds.builder_client import Desk
from clarion_protocol.errors import ControllerUnreachable


def test_a_socket_that_is_not_there_is_no_controller(tmp_path: Path) -> None:
    """With how to start one."""
    with pytest.raises(ControllerUnreachable) as caught:
        Desk(tmp_path / "sock").take(0)
    assert caught.value.message == f"no controller answers at {tmp_path}/sock: there is no such socket"
    assert "'clarion serve'" in (caught.value.hint or "")


def test_a_socket_that_does_not_open_to_this_user(tmp_path: Path) -> None:
    """It says so: the controller is there."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with as_nobody(), pytest.raises(ControllerUnreachable) as caught:
        Desk(closed / "sock").take(0)
    assert caught.value.message == f"you may not open {closed}/sock"
    assert caught.value.hint == "Run it as its unit does: 'systemctl start clarion-builder'."
