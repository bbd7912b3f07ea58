"""`clarion-agent run` and `status` as processes, on a host that has joined a controller which is away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.metadata_service import metadata_service
from tests.stores import Cluster, cluster_in, serving

from clarion_agent.config import Config
from clarion_agent.daemon import first_refresh
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import Identity, Record
from clarion_controller.initialise import cluster_id
from clarion_protocol.keys import SigningKey
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.words import new_id

AGENT_UNIT = Path(__file__).resolve().parents[2] / "systemd" / "clarion-agent.service"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Make a cluster."""
    return cluster_in(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def config_file(tmp_path: Path, cluster: Cluster) -> Path:
    """Return the configuration of a host that has joined and whose controller is away."""
    config = Config(state_dir=str(tmp_path / "state"), apps_root=str(tmp_path / "srv"))
    own = TransportKey.generate()
    with serving(cluster.home / "store") as url:
        record = Record(
            host=new_id(),
            name="web-1",
            cluster=cluster_id(cluster.home),
            environment="production",
            address="127.0.0.1",
            signal_port=1,
            report_port=1,
            package_url=url,
            server_key=TransportKey.generate().public,
            transport_public=own.public,
        )
        config.trust.mkdir(parents=True)
        FloorFiles(config.trust).begin()
        first_refresh(config)(record, cluster.root)
    Identity(record, cluster.root, SigningKey.generate(), own.secret).save(config.state)
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{config.state_dir}"\napps_root = "{config.apps_root}"\nsandbox = "reduced"\n')
    return path


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(20)
        yield server


@pytest.fixture
def agent(config_file: Path, systemd: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """Run an agent until the test ends; it has told systemd that it is ready."""
    environment = {**os.environ, "NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "1000000"}
    process = subprocess.Popen(
        [*clarion_agent(config_file), "run"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert systemd.recv(1000).startswith(b"READY=1")
    yield process
    process.kill()
    process.communicate()


def clarion_agent(config_file: Path) -> list[str]:
    return [sys.executable, "-m", "clarion_agent", "--config", str(config_file)]


def call(config_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*clarion_agent(config_file), *arguments], capture_output=True, text=True, check=False)


def test_it_is_ready_without_its_controller_and_ends_in_order(
    agent: subprocess.Popen[str], systemd: socket.socket
) -> None:
    """A dead controller does not keep the service from starting; SIGTERM ends it with code 0."""
    alive = systemd.recv(1000)
    assert alive.startswith(b"WATCHDOG=1")
    assert b"no line to 127.0.0.1" in alive
    agent.send_signal(signal.SIGTERM)
    _, log = agent.communicate(timeout=15)
    assert agent.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [lines[0]["event"], lines[-1]["event"]] == ["agent.start", "agent.end"]
    assert {"line.ended"} <= {line["event"] for line in lines}


def test_an_agent_that_lost_its_floors_stays_up_and_says_so(config_file: Path, systemd: socket.socket) -> None:
    """Restarted every two seconds it could neither report nor be asked; what runs here would still go on."""
    for copy in (config_file.parent / "state/trust").glob("floors-*.json"):
        copy.write_bytes(b"{}")
    agent = subprocess.Popen(
        [*clarion_agent(config_file), "run"],
        env={**os.environ, "NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "1000000"},
        stderr=subprocess.PIPE,
    )
    try:
        for expected in (b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"):
            said = systemd.recv(1000)
            assert said.startswith(expected)
            assert b"refuses every order: both copies" in said
    finally:
        agent.terminate()
        agent.communicate(timeout=15)
    assert agent.returncode == 0


def test_an_agent_on_a_copied_disk_ends_and_is_not_started_again(config_file: Path) -> None:
    """Before it says a word to anybody; with the code that the unit knows and with what to do."""
    record = config_file.parent / "state/identity/record.json"
    record.write_bytes(record.read_bytes().replace(b'"instance":""', b'"instance":"gcp:1"'))
    config_file.write_text(f'{config_file.read_text()}cloud = "gcp"\n')
    with metadata_service("gcp", "2") as service:
        address = f"clarion_agent.net.metadata_http.SERVICE = {service.server_address!r}"
        script = f"import clarion_agent.net.metadata_http\n{address}\nfrom clarion_agent.cli import main\nmain()"
        ended = subprocess.run(
            [sys.executable, "-c", script, "--config", str(config_file), "run"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    assert ended.returncode == 78
    assert "RestartPreventExitStatus=78" in AGENT_UNIT.read_text()
    assert "copied from gcp:1; this is gcp:2" in ended.stderr
    assert "clarion-agent join TOKEN" in ended.stderr
    assert "line.ended" not in ended.stderr
    assert "instance      gcp:1" in call(config_file, "status").stdout


def test_a_second_agent_is_refused(agent: subprocess.Popen[str], config_file: Path) -> None:
    """Two agents on one state folder would both switch releases; the second says which one runs."""
    second = call(config_file, "run")
    assert second.returncode == 5
    assert f"process {agent.pid}" in second.stderr
    assert "clarion-agent status" in second.stderr


def test_a_killed_agent_leaves_no_lock(agent: subprocess.Popen[str], config_file: Path, systemd: socket.socket) -> None:
    """After SIGKILL the next agent starts at once."""
    agent.kill()
    agent.wait()
    assert json.loads(call(config_file, "status", "--json").stdout)["is_running"] is False
    again = subprocess.Popen(
        [*clarion_agent(config_file), "run"],
        env={**os.environ, "NOTIFY_SOCKET": systemd.getsockname()},
        stderr=subprocess.DEVNULL,
    )
    while not (message := systemd.recv(1000)).startswith(b"READY=1"):
        assert message.startswith(b"WATCHDOG=1")
    again.terminate()
    assert again.wait(15) == 0


def test_status_says_who_runs_where(agent: subprocess.Popen[str], config_file: Path) -> None:
    """People get lines, programs get JSON, and the exit code says whether an agent runs."""
    told = call(config_file, "status", "--json")
    status = json.loads(told.stdout)
    assert told.returncode == 0
    assert (status["is_joined"], status["is_running"], status["pid"]) == (True, True, agent.pid)
    assert status["identity"]["name"] == "web-1"
    assert "secret" not in told.stdout
    text = call(config_file, "status").stdout
    assert "web-1" in text
    assert f"runs (process {agent.pid}), not connected" in text
    agent.terminate()
    agent.wait(15)
    stopped = call(config_file, "status")
    assert stopped.returncode == 1
    assert "systemctl start clarion-agent" in stopped.stdout


def test_a_host_that_has_not_joined_is_told_how(tmp_path: Path) -> None:
    """Neither verb guesses: both name the two commands that come first."""
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{tmp_path / "state"}"\n')
    for verb in ("run", "status"):
        told = call(path, verb)
        assert told.returncode in {1, 2}
        assert "clarion hosts invite" in told.stdout + told.stderr
        assert "clarion-agent join TOKEN" in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("state_dir = 5", "state_dir", id="wrong type"),
        pytest.param('statedir = "/x"', "statedir", id="unknown key"),
        pytest.param("[[[", "agent.toml", id="no TOML"),
        pytest.param(None, "agent.toml", id="no file"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(text: str | None, expected: str, tmp_path: Path) -> None:
    """The error says which file and what in it; exit code 2, no traceback."""
    path = tmp_path / "agent.toml"
    if text is not None:
        path.write_text(text)
    told = call(path, "run")
    assert told.returncode == 2
    assert told.stderr.startswith("error: ")
    assert expected in told.stderr


@pytest.mark.parametrize("arguments", [(), ("dance",), ("join",), ("status", "--xml")])
def test_wrong_usage_is_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """As for every command line."""
    assert call(tmp_path / "agent.toml", *arguments).returncode == 2
