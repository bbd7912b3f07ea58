"""The examples: they load, and the shop keeps the promises that the demo and the lab count on."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.ports import free_port

from clarion_protocol.app_config import load_app_config

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return `<root>/shop` with one release of the shop and the link `current` to it, as the agent lays them out."""
    app = tmp_path / "shop"
    shutil.copytree(EXAMPLES / "shop", app / "releases" / "1-1.0.0", ignore=shutil.ignore_patterns("__pycache__"))
    (app / "current").symlink_to("releases/1-1.0.0")
    return app


@contextmanager
def running_shop(app: Path, stderr: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the shop through `current`, as its unit does, and yield the process and its port."""
    port = free_port()
    command = [sys.executable, "shop.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=app / "current", stdout=subprocess.DEVNULL, stderr=stderr) as process:
        try:
            wait_for(port)
            yield process, port
        finally:
            process.kill()


def wait_for(port: int) -> None:
    """Return once `port` accepts connections."""
    deadline = time.monotonic() + 10
    while not is_open(port):
        assert time.monotonic() < deadline, "the shop does not start"
        time.sleep(0.02)


def is_open(port: int) -> bool:
    """Return whether something listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of one page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("clarion.toml")), ids=lambda path: path.parent.name)
def test_every_clarion_toml_of_the_examples_loads(path: Path) -> None:
    """What a reader copies is accepted as it is."""
    assert load_app_config(path.read_text(), str(path)).health.checks


def test_the_shop_passes_its_own_tests(app: Path) -> None:
    """The commands that clarion.toml names succeed in a fresh copy."""
    test = load_app_config((EXAMPLES / "shop" / "clarion.toml").read_text()).test
    for line in (*test.static, *test.unit, *test.package):
        done = subprocess.run(line.argv, cwd=app / "current", capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_shop_says_which_version_runs_and_that_it_is_ready(app: Path) -> None:
    """A check cannot mistake one version for another."""
    with running_shop(app) as (_, port):
        assert get(port, "/version") == (200, "1.0.0\n")
        assert get(port, "/healthz") == (200, "ready\n")


def test_the_balancer_is_sent_away_while_the_drain_flag_stands(app: Path) -> None:
    """The flag lies beside `releases`, so it outlives every release."""
    with running_shop(app) as (_, port):
        (app / "draining").touch()
        assert get(port, "/healthz")[0] == 503
        assert get(port, "/version")[0] == 200
        (app / "draining").unlink()
        assert get(port, "/healthz")[0] == 200


def test_a_running_shop_keeps_the_release_it_started_from(app: Path) -> None:
    """Moving `current` changes nothing until the restart: no process is half old and half new."""
    with running_shop(app) as (_, port):
        shutil.copytree(app / "releases" / "1-1.0.0", app / "releases" / "2-2.0.0")
        (app / "releases" / "2-2.0.0" / "goods.json").write_text('{"tea": 100}')
        (app / "next").symlink_to("releases/2-2.0.0")
        (app / "next").rename(app / "current")
        assert "coffee" in get(port, "/")[1]


def test_a_request_in_flight_is_finished_after_sigterm(app: Path) -> None:
    """The half-sent request gets its whole answer, then the process ends well."""
    with running_shop(app) as (process, port), socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /version HTTP/1.0\r\n")
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        client.sendall(b"\r\n")
        assert client.makefile().read().endswith("1.0.0\n")
        assert process.wait(timeout=10) == 0


def test_the_shop_starts_again_on_the_same_port_at_once(app: Path) -> None:
    """Connections of the former process do not keep the port: SO_REUSEADDR is set."""
    port = free_port()
    command = [sys.executable, "shop.py", "--port", str(port)]
    for _ in range(2):
        with subprocess.Popen(command, cwd=app / "current", stdout=subprocess.DEVNULL) as process:
            wait_for(port)
            assert get(port, "/version")[0] == 200
            process.terminate()
            assert process.wait(timeout=10) == 0


def test_many_requests_at_once_are_all_answered(app: Path) -> None:
    """Each request has its own thread."""
    answers: list[int] = []
    with running_shop(app) as (_, port):
        threads = [threading.Thread(target=lambda: answers.append(get(port, "/")[0])) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 50


@pytest.mark.parametrize(
    ("change", "expected"),
    [("nothing", 0), ("another version answers", 1), ("the front page fails", 1), ("nobody answers", 1)],
)
def test_the_check_passes_only_for_this_version_and_a_whole_front_page(app: Path, change: str, expected: int) -> None:
    """`shop.py --check` is what the demo's hosts ask before they accept a release."""
    with running_shop(app) as (process, port):
        if change == "another version answers":
            (app / "current" / "VERSION").write_text("9.9.9\n")
        if change == "the front page fails":
            (app / "current" / "goods.json").write_text('{"coffee": "7.90"}')
        if change == "nobody answers":
            process.kill()
            process.wait()
        (app / "port").write_text(str(port))
        environment = {key: value for key, value in os.environ.items() if key != "PORT"}
        check = [sys.executable, "shop.py", "--check"]
        done = subprocess.run(check, cwd=app / "current", env=environment, capture_output=True, timeout=30, check=False)
        assert done.returncode == expected, done.stdout


def test_a_balancer_that_hangs_up_early_is_no_error(app: Path) -> None:
    """HAProxy resets a connection once it has seen the status of /healthz; the log stays silent about it."""
    with running_shop(app, stderr=subprocess.PIPE) as (process, port):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert get(port, "/healthz")[0] == 200
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read() == b""
