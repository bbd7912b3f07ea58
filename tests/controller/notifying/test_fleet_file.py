"""fleet.toml, while somebody writes it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from structlog.testing import capture_logs

from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.notifying.destinations import renamed
from clarion_controller.notifying.fleet_file import SETTLES_S, FleetFile

CHANNEL = '[[notify]]\nname = "{}"\nslack = {{ url = "env:SLACK" }}\n'


def write(home: Path, text: str, age: float = 60.0) -> None:
    """Write the file, some seconds ago."""
    (home / "fleet.toml").write_text(text)
    os.utime(home / "fleet.toml", (time.time() - age, time.time() - age))


def names(file: FleetFile) -> list[str]:
    """Return the channels that are known."""
    return [channel.name for channel in (file.fleet or Fleet()).notify]


def test_a_file_that_is_being_written_is_read_when_that_is_over(tmp_path: Path) -> None:
    """Half of it may fit, and what is not there yet would count as taken out: its incidents would end."""
    file = FleetFile(tmp_path)
    write(tmp_path, CHANNEL.format("chat"))
    assert file.has_changed()
    write(tmp_path, "[cluster]\n", age=0.0)
    assert not file.has_changed()
    assert names(file) == ["chat"]
    write(tmp_path, CHANNEL.format("pager"), age=0.0)
    assert not file.has_changed()
    time.sleep(SETTLES_S + 0.1)
    assert file.has_changed()
    assert names(file) == ["pager"]


def test_a_file_from_the_future_is_read_a_moment_later(tmp_path: Path) -> None:
    """The clock was set back since it was written."""
    file = FleetFile(tmp_path)
    write(tmp_path, CHANNEL.format("chat"), age=-3600.0)
    assert not file.has_changed()
    time.sleep(SETTLES_S + 0.1)
    assert file.has_changed()


def test_nothing_is_known_before_there_is_a_file_that_fits(tmp_path: Path) -> None:
    """To take that for a fleet of nobody would be to give up whatever waits."""
    file = FleetFile(tmp_path)
    assert (file.has_changed(), file.fleet) == (False, None)
    write(tmp_path, "[[notify]\n")
    with capture_logs():
        assert (file.has_changed(), file.fleet) == (False, None)
    write(tmp_path, CHANNEL.format("chat"), age=30.0)
    assert file.has_changed()


def test_a_channel_with_another_name_is_the_same_channel(tmp_path: Path) -> None:
    """Not one that says something else as well, nor one that stays."""
    file = FleetFile(tmp_path)
    write(tmp_path, CHANNEL.format("chat"))
    file.has_changed()
    before = file.fleet
    write(tmp_path, CHANNEL.format("ops"), age=30.0)
    file.has_changed()
    assert file.fleet
    assert renamed(before, file.fleet) == {"notify:chat": "notify:ops"}
    write(tmp_path, CHANNEL.format("ops") + 'kinds = ["agent_lost"]\n', age=20.0)
    file.has_changed()
    assert renamed(before, file.fleet) == {}
    assert renamed(None, file.fleet) == {}
