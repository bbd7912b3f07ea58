"""The lab itself can be trusted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from . import cgroups
from .cache import Cache
from .inside import inside
from .island import RUN
from .lab import Lab, sweep

LATE_UNIT = """\
[Service]
ExecStart=/bin/sleep 60
ExecStop=/bin/touch /srv/stopped
"""
UNIT = """\
[Service]
ExecStart=/usr/bin/python3 -m http.server --directory /srv 8000
DynamicUser=yes
"""
HOLD = """\
import sys, time
from pathlib import Path
from tests.lab.cache import Cache
from tests.lab.lab import Lab
lab = Lab(Cache(Path(sys.argv[1])))
lab.boot("web-1")
print(lab.name, flush=True)
time.sleep(60)
"""
REPOSITORY = Path(__file__).parents[2]


def fetch(lab: Lab, url: str) -> str:
    """Fetch a page over the lab's network, from the test's own place on it; empty if that fails."""
    command = lab.island.command("curl", "--silent", "--show-error", "--max-time", "1", url)
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout


def fetch_within(lab: Lab, url: str, seconds: float) -> str:
    """Fetch a page, again and again until it comes or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if page := fetch(lab, url):
            return page
        time.sleep(0.05)
    return ""


def traces() -> set[str]:
    """Return what a lab would have let slip onto the machine itself: a mount of its own, a link, a named namespace.

    Only what a lab alone makes is counted: other tests run, and mount, beside this one.
    """
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    slipped = [mount for mount in mounts if mount.startswith("clarion-lab ") or f" {RUN}" in mount]
    links = [f"link {path.name}" for path in Path("/sys/class/net").iterdir()]
    named = [f"netns {path}" for path in Path("/run/netns").glob("*")]
    return {*slipped, *links, *named}


def dwellers(pid: int) -> list[psutil.Process]:
    """Return the processes below `pid` that live in a network or mount namespace that is not ours."""
    ours = set(namespaces(os.getpid()))
    return [child for child in psutil.Process(pid).children(recursive=True) if set(namespaces(child.pid)) - ours]


def namespaces(pid: int) -> Iterator[str]:
    """Yield the network and the mount namespace of a process; nothing if it has ended."""
    for kind in ("net", "mnt"):
        with contextlib.suppress(OSError):
            yield str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that run still: neither a dead one that nobody buried, nor another with the number of one."""
    return [process for process in processes if process.is_running() and any(namespaces(process.pid))]


def test_five_servers_boot_a_real_systemd(lab: Lab) -> None:
    """Five servers run systemd as process 1, each with its own name, address and machine id."""
    servers = lab.boot(*(f"web-{number}" for number in range(1, 6)))
    assert [server.state() for server in servers] == ["running"] * 5
    assert {server.read("/proc/1/comm").strip() for server in servers} == {"systemd"}
    assert [server.run("hostname").stdout.strip() for server in servers] == [server.name for server in servers]
    assert len({server.read("/etc/machine-id") for server in servers}) == 5
    assert [server.run("getent", "hosts", "web-5").stdout.split()[0] for server in servers] == [servers[4].address] * 5


def test_a_unit_runs_and_serves(lab: Lab) -> None:
    """A unit that is written to a server runs there as systemd's, and its port answers on the lab's network."""
    (web,) = lab.boot("web-1")
    web.write("/srv/hello", "hello")
    web.write("/etc/systemd/system/echo.service", UNIT)
    web.run("systemctl", "start", "echo.service")
    assert fetch_within(lab, f"http://{web.address}:8000/hello", 10) == "hello"
    assert web.show("echo.service", "ActiveState") == "active"
    assert "GET /hello" in web.journal("echo.service")


def test_a_cut_server_is_alive_but_alone(lab: Lab) -> None:
    """A cut cable stops traffic to that server only, and a healed one carries it again."""
    servers = lab.boot("web-1", "web-2")
    for server in servers:
        server.write("/srv/name", server.name)
        server.write("/etc/systemd/system/echo.service", UNIT)
        server.run("systemctl", "start", "echo.service")
        assert fetch_within(lab, f"http://{server.address}:8000/name", 10) == server.name
    servers[0].cut()
    assert [fetch(lab, f"http://{server.address}:8000/name") for server in servers] == ["", "web-2"]
    assert servers[0].show("echo.service", "ActiveState") == "active"
    servers[0].heal()
    assert fetch_within(lab, f"http://{servers[0].address}:8000/name", 10) == "web-1"


def test_a_server_without_power_keeps_its_disk(lab: Lab) -> None:
    """After a hard power-off nothing runs, and the next boot has the files, the journal and a new boot id."""
    (web,) = lab.boot("web-1")
    web.write("/srv/kept", "kept")
    web.run("systemd-cat", "echo", "said before the cut")
    web.run("journalctl", "--sync")
    first_boot = web.read("/proc/sys/kernel/random/boot_id")
    web.kill()
    assert not web.is_on
    web.boot()
    assert web.read("/srv/kept") == "kept"
    assert web.read("/proc/sys/kernel/random/boot_id") != first_boot
    assert "said before the cut" in web.journal()


def test_an_orderly_shutdown_stops_units_first(lab: Lab) -> None:
    """Switching off as an operator does lets units stop in order."""
    (web,) = lab.boot("web-1")
    web.write("/etc/systemd/system/late.service", LATE_UNIT)
    web.run("systemctl", "start", "late.service")
    web.shut_down()
    web.boot()
    assert web.run("test", "-e", "/srv/stopped", check=False).returncode == 0


def test_files_are_copied_in_as_roots(lab: Lab, tmp_path: Path) -> None:
    """A folder arrives with its modes, owned by root."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/run").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "app/run").chmod(0o755)
    (web,) = lab.boot("web-1")
    web.copy_in(tmp_path / "app", "/opt")
    assert web.run("/opt/app/run").stdout == "ran\n"
    assert web.run("stat", "-c", "%U %a", "/opt/app/run").stdout == "root 755\n"


def test_the_test_itself_listens_inside_a_servers_network(lab: Lab) -> None:
    """A socket that is made there is reached from there, and from nowhere else; the test itself stays where it was."""
    (web,) = lab.boot("web-1")
    make = partial(socket.create_server, ("127.0.0.1", 0))
    with inside(lab.network.namespace("web-1"), make) as listener:
        port = listener.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert web.run("python3", "-c", connect, check=False).returncode == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_what_is_baked_is_on_the_disk_at_the_first_boot(lab: Lab) -> None:
    """A file that is written while a server is switched off is there with its mode when it boots."""
    web = lab.prepare("web-1")
    web.bake("/etc/clarion-agent/join.token", "secret\n", mode=0o600)
    lab.power_on(web)
    assert web.run("stat", "--format=%a %U", "/etc/clarion-agent/join.token").stdout == "600 root\n"
    assert web.read("/etc/clarion-agent/join.token") == "secret\n"


def test_nothing_is_left_behind(cache: Cache) -> None:
    """After a lab this machine holds none of its groups, processes, mounts or links."""
    before = traces()
    with Lab(cache) as lab:
        lab.boot("web-1", "web-2")
        inhabitants = dwellers(os.getpid())
        assert {"cat", "systemd"} <= {process.name() for process in inhabitants}
        assert lab.name in cgroups.labs()
    assert lab.name not in cgroups.labs()
    assert living(inhabitants) == []
    assert traces() == before


def test_a_killed_run_leaves_nothing_and_the_next_run_sweeps(cache: Cache) -> None:
    """SIGKILL to the test run ends its servers at once; the next sweep takes the last traces, and no living lab's."""
    before = traces()
    runner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(cache.home)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert runner.stdout
    with runner, runner.stdout:
        name = runner.stdout.readline().strip()
        inhabitants = dwellers(runner.pid)
        assert {"cat", "systemd"} <= {process.name() for process in inhabitants}
        assert name not in sweep(), "a living lab was swept"
        runner.send_signal(signal.SIGKILL)
    assert name in sweep()
    assert living(inhabitants) == []
    assert traces() == before
