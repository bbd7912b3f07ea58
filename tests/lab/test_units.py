"""The units hold what they promise: the programs inside can do their work, and hardly anything else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import debs
from .cache import Cache
from .lab import Lab
from .server import Server

AGENT = "clarion-agent.service"
DROP_IN = f"/etc/systemd/system/{AGENT}.d/instead.conf"
INSTEAD = """\
[Unit]
ConditionPathExists=
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart=/bin/sh -c "{command}"
"""


@pytest.fixture(scope="module")
def server(cache: Cache) -> Iterator[Server]:
    """Give one server with the agent installed."""
    with Lab(cache) as lab:
        (server,) = lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])
        server.write("/root/secret", "an administrator's secret\n")
        yield server


def succeeds_as_the_agent(server: Server, command: str) -> bool:
    """Run a shell command in the agent's unit, in the agent's place."""
    server.write(DROP_IN, INSTEAD.format(command=command))
    server.run("systemctl", "daemon-reload")
    code = server.run("systemctl", "start", AGENT, check=False).returncode
    server.run("systemctl", "reset-failed", AGENT, check=False)
    return code == 0


PYTHON = "/opt/clarion-agent/bin/python -I -c"

WORK = {
    "writes a release": "mkdir -p /srv/clarion/shop/releases/1-1.0.0",
    "gives a file to an app's user": "touch /srv/clarion/x && chown 1234 /srv/clarion/x && chmod 0600 /srv/clarion/x",
    "writes what belongs to an app's user": "echo more >> /srv/clarion/x",
    "remembers": "touch /var/lib/clarion-agent/floors",
    "restarts a service": "systemctl restart dbus.service",
    "loads its libraries": f"{PYTHON} 'import zmq, tuf, cryptography; zmq.Context().socket(zmq.DEALER)'",
}

MISCHIEF = {
    "changes the server's configuration": "touch /etc/new",
    "changes a program": "touch /usr/bin/new",
    "changes its own program": "touch /opt/clarion-agent/new",
    "reads a home": "cat /root/secret",
    "mounts": "mount -t tmpfs none /srv/clarion",
    "makes a namespace": "unshare --net true",
    "makes a program that runs as root": "cp /bin/sh /srv/clarion/sh && chmod u+s /srv/clarion/sh",
    "makes a device": "mknod /srv/clarion/disk b 7 0",
    "opens a raw socket": f"{PYTHON} 'import socket; socket.socket(17, 3)'",
    "becomes another user": f"{PYTHON} 'import os; os.setuid(1234)'",
}


@pytest.mark.parametrize("what", WORK)
def test_the_agent_can_do_its_work(server: Server, what: str) -> None:
    """Hardening takes nothing away that the agent needs."""
    assert succeeds_as_the_agent(server, WORK[what])


@pytest.mark.parametrize("what", MISCHIEF)
def test_an_agent_taken_over_can_do_little(server: Server, what: str) -> None:
    """Root in the agent's unit is refused what the agent never does."""
    assert not succeeds_as_the_agent(server, MISCHIEF[what])


def test_root_outside_the_unit_could_do_all_of_that(lab: Lab, cache: Cache) -> None:
    """What is refused above is refused by the unit: any other root on the same server may do it."""
    (server,) = lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])
    server.write("/root/secret", "an administrator's secret\n")
    refused = [what for what, command in MISCHIEF.items() if server.run("sh", "-c", command, check=False).returncode]
    assert refused == []


@pytest.mark.parametrize(
    ("package", "unit"),
    [
        ("clarion-agent", AGENT),
        ("clarion-agent", "clarion-agent-join.service"),
        ("clarion-agent", "clarion-test@0.service"),
        ("clarion", "clarion-controller.service"),
        ("clarion", "clarion-builder.service"),
    ],
)
def test_systemd_has_nothing_to_say_about_a_unit(lab: Lab, cache: Cache, package: str, unit: str) -> None:
    """Each installed unit passes systemd-analyze verify without a word."""
    (server,) = lab.boot("web-1", layers=[debs.installed(cache, package)])
    verified = server.run("systemd-analyze", "verify", unit)
    assert verified.stdout + verified.stderr == ""
