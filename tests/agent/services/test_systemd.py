"""systemd, as systemctl shows it; the lab asks a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.programs import Programs

from clarion_agent.services.systemd import Systemd
from clarion_agent.stages.restart import UnitState
from clarion_protocol.errors import RestartFailed


def test_a_unit_is_restarted_by_name_only(programs: Programs) -> None:
    """The name stands behind "--", so it cannot be an option."""
    programs.say("systemctl", "")

    Systemd().restart("shop.service")

    assert programs.calls == ["restart -- shop.service"]


def test_a_unit_that_does_not_start_is_an_error_that_names_the_next_command(programs: Programs) -> None:
    """What systemctl said is in the message, without control characters."""
    programs.say("systemctl", "Job failed\033[31m, see status", code=1)

    with pytest.raises(RestartFailed) as caught:
        Systemd().restart("shop.service")

    assert caught.value.message == "shop.service did not start: Job failed, see status"
    assert "journalctl" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        pytest.param("ActiveState=active\nMainPID=42\n", UnitState(is_active=True, main_pid=42), id="active"),
        pytest.param("ActiveState=activating\nMainPID=7\n", UnitState(is_active=False, main_pid=7), id="starting"),
        pytest.param("ActiveState=failed\nMainPID=0\n", UnitState(is_active=False), id="failed"),
        pytest.param("", UnitState(is_active=False), id="nothing is shown"),
    ],
)
def test_a_unit_is_active_only_if_systemd_says_so(programs: Programs, shown: str, state: UnitState) -> None:
    """Starting is not active yet."""
    programs.say("systemctl", shown)

    assert Systemd().state("shop.service") == state


def test_the_log_is_that_of_the_unit(programs: Programs) -> None:
    """It is bounded and printable."""
    programs.say("journalctl", "line 1\nline 2")

    assert Systemd().log_tail("shop.service") == "line 1\nline 2"
    assert "--unit=shop.service" in programs.calls[0]


def test_a_log_that_cannot_be_had_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error that one wants to read about must not be replaced by another."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert Systemd().log_tail("shop.service") == ""
