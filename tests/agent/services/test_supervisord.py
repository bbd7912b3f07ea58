"""supervisord, a real one, over its socket."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_agent.services.supervisord import Supervisord
from clarion_protocol.errors import RestartFailed

pytest.importorskip("supervisor", reason="supervisor is an extra for demo and tests")

CONFIGURATION = """
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
nodaemon = true
silent = true
[unix_http_server]
file = {folder}/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:shop]
command = sh -c 'echo shop begins; exec sleep 1000'
autostart = false
startsecs = 0
[program:broken]
command = sh -c 'echo broken ends >&2; exit 3'
autostart = false
startsecs = 1
startretries = 0
"""


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run supervisord and give its socket."""
    folder = tmp_path_factory.mktemp("supervisord")
    (folder / "conf").write_text(CONFIGURATION.format(folder=folder))
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(folder / "conf")]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (folder / "socket").exists():
        assert process.poll() is None, "supervisord ended"
        assert time.monotonic() < deadline, "supervisord does not listen"
        time.sleep(0.05)
    yield folder / "socket"
    process.terminate()
    process.wait(20)


def test_a_program_is_restarted(socket: Path) -> None:
    """Each restart is another process, also of a program that did not run."""
    services = Supervisord(socket)

    services.restart("shop.service")
    first = services.state("shop.service")
    services.restart("shop.service")
    second = services.state("shop.service")

    assert first.is_active
    assert second.is_active
    assert first.main_pid != second.main_pid
    deadline = time.monotonic() + 10
    while "shop begins" not in services.log_tail("shop.service"):
        assert time.monotonic() < deadline, "it was never logged"
        time.sleep(0.05)


def test_a_program_that_is_stopped_is_not_active(socket: Path) -> None:
    """Stopping what does not run is no error."""
    services = Supervisord(socket)
    services.restart("shop.service")

    services.stop("shop.service")
    services.stop("shop.service")

    assert not services.state("shop.service").is_active


@pytest.mark.parametrize("unit", ["broken.service", "unknown.service"])
def test_a_program_that_does_not_start_is_an_error(socket: Path, unit: str) -> None:
    """It names the unit and the command that shows more."""
    with pytest.raises(RestartFailed, match=f"{unit} did not start") as caught:
        Supervisord(socket).restart(unit)

    assert "supervisorctl" in (caught.value.hint or "")


def test_what_a_broken_program_printed_is_in_its_log(socket: Path) -> None:
    """Both streams are shown."""
    with pytest.raises(RestartFailed):
        Supervisord(socket).restart("broken.service")

    assert "broken ends" in Supervisord(socket).log_tail("broken.service")


def test_without_supervisord_nothing_is_active(tmp_path: Path) -> None:
    """A socket that is not there is an error for a restart, and an empty answer for a question."""
    services = Supervisord(tmp_path / "socket")

    assert not services.state("shop.service").is_active
    assert services.log_tail("shop.service") == ""
    with pytest.raises(RestartFailed):
        services.restart("shop.service")
