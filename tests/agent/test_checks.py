"""Health checks, against real servers on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clarion_agent.checks import Probe, exec_command, first_failure, http, systemd_active, tcp
from clarion_agent.sandbox.reduced import ReducedSandbox
from clarion_agent.stages.restart import UnitState
from clarion_protocol.app_config import CommandLine, ExecCheck, HttpCheck, TcpCheck, load_app_config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nversion 1.2.3\n"


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer each connection on a loopback port with `answer`; give the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    """Return an answer that reads the request first."""

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return talk


def redirecting(connection: socket.socket) -> None:
    """Send whoever asks to a page that would be fine."""
    request = connection.recv(4096)
    if b"/healthy" in request:
        connection.sendall(OK)
    else:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /healthy\r\nContent-Length: 0\r\n\r\n")


def dripping(connection: socket.socket) -> None:
    """Send a byte now and then, for ever."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b".")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(saying(OK), None, id="the right status and text"),
        pytest.param(saying(OK.replace(b"200 OK", b"503 No")), "status 503", id="another status"),
        pytest.param(saying(OK.replace(b"1.2.3", b"1.2.2")), "does not contain '1.2.3'", id="the old version answers"),
        pytest.param(redirecting, "status 302", id="a redirect is not followed"),
        pytest.param(saying(b"SSH-2.0-OpenSSH\r\n"), "http://", id="no HTTP at all"),
        pytest.param(saying(b""), "http://", id="it hangs up"),
    ],
)
def test_an_http_check_wants_status_and_text(answer: Callable[[socket.socket], None], says: str | None) -> None:
    """What is wrong is one sentence that begins with the URL."""
    with server(answer) as address:
        found = http.failure(HttpCheck(f"http://{address}/version", contains="$VERSION"), "1.2.3", 2.0)

    assert (found is None) == (says is None), found
    assert says is None or says in str(found)


def test_an_http_check_ends_in_time_however_slowly_the_bytes_come() -> None:
    """A service that drips is not healthy, and does not hold the agent up."""
    with server(dripping) as address:
        begin = time.monotonic()
        found = http.failure(HttpCheck(f"http://{address}/"), "1.2.3", 0.5)

    assert found is not None
    assert time.monotonic() - begin < 3


def test_an_http_check_reads_no_endless_answer() -> None:
    """64 KiB are enough to find a version."""

    def flood(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        while True:
            connection.sendall(b"x" * 65_536)

    with server(flood) as address:
        begin = time.monotonic()
        assert http.failure(HttpCheck(f"http://{address}/", contains="y"), "1", 5.0) is not None

    assert time.monotonic() - begin < 4


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check means this host, whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(saying(OK)) as address:
        assert http.failure(HttpCheck(f"http://{address}/"), "1.2.3", 2.0) is None


def test_a_tcp_check_wants_a_connection() -> None:
    """Nothing is sent."""
    with server(lambda connection: None) as address:
        assert tcp.failure(TcpCheck(address), 2.0) is None

    assert tcp.failure(TcpCheck(address), 2.0) == f"tcp {address}: Connection refused"
    assert http.failure(HttpCheck(f"http://{address}/"), "1", 2.0) == f"http://{address}/: Connection refused"


def test_an_exec_check_runs_in_the_release(tmp_path: Path) -> None:
    """It sees the release as its folder; what it printed is in the reason."""
    tmp_path.chmod(0o755)
    (tmp_path / "healthy").touch()
    box = ReducedSandbox()

    assert exec_command.failure(ExecCheck(CommandLine("test -f healthy")), tmp_path, box, 10.0) is None
    found = exec_command.failure(ExecCheck(CommandLine("ls sick")), tmp_path, box, 10.0)
    assert found is not None
    assert "exit code 2" in found
    assert "sick" in found


class Units:
    """A service manager with units that are active or not."""

    def __init__(self, *active: str) -> None:
        self.active = active
        self.process = 1

    def restart(self, unit: str) -> None:
        """Restart nothing."""

    def stop(self, unit: str) -> None:
        """Stop nothing."""

    def state(self, unit: str) -> UnitState:
        """Return whether the unit is one of the active ones."""
        return UnitState(unit in self.active, self.process)

    def log_tail(self, unit: str) -> str:
        """Return nothing."""
        return ""


def test_a_systemd_check_wants_the_unit_active() -> None:
    """The reason names the unit."""
    assert systemd_active.failure("a.service", Units("a.service")) is None
    assert systemd_active.failure("b.service", Units("a.service")) == "b.service is not active"


def test_the_apps_own_units_are_always_checked(tmp_path: Path) -> None:
    """An app without any check of its own must at least run."""
    app = load_app_config('[app]\nname = "shop"\nunits = ["shop.service"]\n')

    def probe(*active: str) -> Probe:
        return Probe(app, "1", tmp_path, ("shop.service",), Units(*active), ReducedSandbox())

    assert first_failure(probe("shop.service")) is None
    assert first_failure(probe()) == "shop.service is not active"


def test_a_unit_that_falls_and_is_started_again_is_not_healthy(tmp_path: Path) -> None:
    """It is active whenever one looks, but it is another process each time."""
    app, units = load_app_config('[app]\nname = "shop"\nunits = ["shop.service"]\n'), Units("shop.service")
    probe = Probe(app, "1", tmp_path, ("shop.service",), units, ReducedSandbox())
    assert first_failure(probe) is None

    units.process = 2

    assert first_failure(probe) == "shop.service ended and was started again"
    assert first_failure(probe) is None


def test_the_first_check_that_fails_is_named(tmp_path: Path) -> None:
    """Checks are asked in the order in which they are written."""
    text = '[app]\nname = "shop"\n[[health.check]]\nsystemd = "a.service"\n[[health.check]]\ntcp = "127.0.0.1:1"\n'
    probe = Probe(load_app_config(text), "1", tmp_path, (), Units("a.service"), ReducedSandbox())

    assert str(first_failure(probe)).startswith("tcp 127.0.0.1:1")
