"""`clarion serve` as a process: how it begins, what stands in its way, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import tomli
from tests.controller.live import PORTS, fleet_toml, new_cluster
from tests.ports import free_ports

from clarion_controller.client.calls import Controller
from clarion_protocol.words import ExitCode

CLARION = [sys.executable, "-c", "import sys; from clarion_controller.cli import main; sys.exit(main())"]


def api_of(home: Path) -> Path:
    """Return where the API of a home listens."""
    return home / "run" / "controller.sock"


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run `clarion serve` until the end of the block."""
    command = [*CLARION, "serve", "--home", str(home)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, cwd=home.parent
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def wait_until_ready(process: subprocess.Popen[str], home: Path) -> Controller:
    """Return a client once the controller has logged that it is ready."""
    assert process.stderr
    line = process.stderr.readline()
    assert json.loads(line)["event"] == "controller.ready", line
    return Controller(api_of(home))


def refused(home: Path) -> subprocess.CompletedProcess[str]:
    """Run `clarion serve` where it cannot run."""
    return subprocess.run(
        [*CLARION, "serve", "--home", str(home)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the home of a new cluster."""
    return new_cluster(tmp_path).home


def test_it_says_ready_when_every_port_answers_and_ends_on_sigterm(home: Path, tmp_path: Path) -> None:
    """Systemd hears READY only when API, packages and both agent ports are there; SIGTERM ends it cleanly."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        with serving(home, NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert systemd.recv(4096).startswith(b"READY=1")
            assert Controller(api_of(home)).fleet().name == "acme"
            ports = tomli.loads((home / "fleet.toml").read_text())["controller"]
            assert httpx.get(f"http://127.0.0.1:{ports['package_port']}/metadata/1.root.json").status_code == 200
            for port in PORTS[:3]:
                socket.create_connection(("127.0.0.1", ports[port]), timeout=5).close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert systemd.recv(4096) == b"STOPPING=1"
    assert not api_of(home).exists()


def test_its_log_is_json_for_the_journal(home: Path) -> None:
    """Not on a terminal, each line is one JSON object."""
    with serving(home) as process:
        wait_until_ready(process, home)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert [json.loads(line)["event"] for line in log.splitlines()][-1] == "controller.stopped"


def test_the_socket_is_for_its_owner_and_group(home: Path) -> None:
    """Nobody else on the machine may speak to the controller, or read its state."""
    with serving(home) as process:
        wait_until_ready(process, home)
        assert api_of(home).stat().st_mode & 0o777 == 0o660
        assert (home / "state").stat().st_mode & 0o077 == 0
        assert (home / "state" / "clarion.db").stat().st_mode & 0o777 == 0o600


def test_a_second_controller_on_the_same_home_is_blocked(home: Path) -> None:
    """It names the process that runs, and leaves it in peace."""
    with serving(home) as process:
        client = wait_until_ready(process, home)
        second = refused(home)
        assert second.returncode == ExitCode.BLOCKED
        assert f"process {process.pid}" in second.stderr
        assert client.fleet().name == "acme"


def test_what_a_killed_controller_left_behind_is_replaced(home: Path) -> None:
    """After SIGKILL, a stale socket and lock file stop nobody."""
    with serving(home) as process:
        wait_until_ready(process, home)
        process.kill()
        process.wait(20)
    assert api_of(home).exists()
    with serving(home) as process:
        wait_until_ready(process, home)


@pytest.mark.parametrize("place", range(4), ids=PORTS)
def test_a_port_in_use_is_named(home: Path, place: int) -> None:
    """The error says which port, and how to find out who has it."""
    ports = free_ports(len(PORTS))
    (home / "fleet.toml").write_text(fleet_toml(ports))
    with socket.create_server(("127.0.0.1", ports[place])):
        ended = refused(home)
    assert ended.returncode == ExitCode.USAGE
    assert f"port {ports[place]}" in ended.stderr
    assert "ss -ltnp" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda home: (home / "fleet.toml").write_text("[controller]\nadress = 1\n"), 'Did you mean "address"?'),
        (lambda home: (home / "fleet.toml").write_text("[environment.new]\n"), "has no signed policy"),
        (lambda home: (home / "keys" / "signal.key").unlink(), "signal.key"),
        (lambda home: (home / "keys" / "transport.key").chmod(0o644), "chmod 600"),
        (lambda home: (home / "state").mkdir() or (home / "state" / "clarion.db").write_text("x" * 9999), "clarion.db"),
        (lambda home: (home / "run").mkdir() or api_of(home).write_text("mine"), "is no socket"),
        (lambda home: (home / "store" / "metadata" / "timestamp.json").unlink(), "clarion"),
    ],
    ids=["typo", "environment without policy", "key offline", "open key", "no database", "file in the way", "store"],
)
def test_what_cannot_be_served_is_explained(home: Path, damage: object, said: str) -> None:
    """Each fault ends the start with one clear error and no stack trace."""
    damage(home)  # type: ignore[operator]
    ended = refused(home)
    assert ended.returncode not in (0, None)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_empty_folder_is_no_cluster(tmp_path: Path) -> None:
    """The error names the command that makes one."""
    ended = refused(tmp_path)
    assert ended.returncode == ExitCode.USAGE
    assert "clarion init" in ended.stderr
