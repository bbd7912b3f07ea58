"""The sandbox of a package's tests holds on a real server, whatever the tests try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from clarion_agent.sandbox.job import write_job

from . import debs
from .cache import Cache
from .lab import Lab
from .server import Server

JOB = "/run/clarion-agent/tests/{id}"
RELEASE = "/srv/clarion/shop/releases/1-1.0.0"
UNIT = "clarion-test@{id}.service"
ID = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Ended:
    """How a job ended, how many bytes it printed, and the end of it."""

    code: int
    printed: int
    output: str


@pytest.fixture(scope="module")
def server(cache: Cache) -> Iterator[Server]:
    """Give one server with the agent installed, a release, and things that a test must not see."""
    with Lab(cache) as lab:
        (server,) = lab.boot("web-1", layers=[debs.installed(cache, "clarion-agent")])
        server.write(f"{RELEASE}/data.txt", "data of the release\n")
        server.write("/srv/clarion/bank/current", "another app's secret\n")
        server.write("/var/lib/clarion-agent/identity/host.key", "the host's secret\n")
        server.write("/etc/bank.conf", "a secret that anybody on the host may read\n")
        yield server


def run(server: Server, *commands: str) -> Ended:
    """Run shell commands as a job, as the agent does it, and take the job away again."""
    job, unit = JOB.format(id=ID), UNIT.format(id=ID)
    server.write(f"{job}/job", write_job(tuple(("sh", "-c", command) for command in commands)).decode())
    server.run("chmod", "0700", "/run/clarion-agent", job)
    server.run("ln", "-s", RELEASE, f"{job}/release")
    server.run("systemctl", "start", unit, check=False, timeout=60)
    code, printed = server.show(unit, "ExecMainStatus"), server.run("stat", "--format=%s", f"{job}/output").stdout
    ended = Ended(int(code), int(printed), server.run("tail", "--bytes=9000", f"{job}/output").stdout)
    server.run("systemctl", "reset-failed", unit, check=False)
    server.run("rm", "-r", job)
    return ended


def test_tests_run_in_the_release_as_nobody_anybody_knows(server: Server) -> None:
    """Commands find the release and a scratch folder, and run as a user that no file of the server belongs to."""
    ended = run(server, "cat data.txt", "mktemp", "id -u")
    assert ended.code == 0
    assert "data of the release" in ended.output
    assert "/scratch/tmp." in ended.output
    assert int(ended.output.splitlines()[-1]) > 60_000


def test_the_first_failure_ends_the_job(server: Server) -> None:
    """The job's exit code is that of the first command that failed; later ones do not run."""
    ended = run(server, "true", "exit 7", "echo too late")
    assert ended.code == 7
    assert "\ntoo late" not in ended.output


ATTACKS = {
    "reads the host's keys": ("cat /var/lib/clarion-agent/identity/host.key", "No such file"),
    "reads another app": ("cat /srv/clarion/bank/current", "No such file"),
    "reads a careless secret in /etc": ("cat /etc/bank.conf", "No such file"),
    "reads the server's password file": ("cat /etc/shadow", "No such file"),
    "reads root's home": ("ls /root/", "Permission denied"),
    "changes the release that it tests": ("touch /release/new", "Read-only file system"),
    "changes its own job": ("echo > /job", "Read-only file system"),
    "writes to the server's disk through /tmp": ("touch /tmp/new", "Read-only file system"),
    "opens a network socket": ("python3 -c 'import socket; socket.socket()'", "Address family not supported"),
    "speaks to systemd": ("systemctl stop dbus", "Failed to connect to bus"),
    "looks at the server's first process": ("ls /proc/1", "No such file"),
    "makes a program that runs as its owner": ("cp /bin/sh /scratch/ && chmod u+s /scratch/sh", "not permitted"),
    "makes a user namespace": ("unshare --user true", "not permitted"),
    "mounts": ("mount -t tmpfs none /scratch", "must be superuser"),
    "takes 5 GB of memory": ("python3 -c 'bytearray(5 * 2**30)'", "MemoryError"),
    "fills its scratch folder": ("for i in 1 2; do head -c 200M /dev/zero > /scratch/$i; done; ls $i", "No space left"),
    "makes 70,000 files": ("python3 -c \"for i in range(70000): open(f'/scratch/{i}', 'x')\"", "No space left"),
    "forks without end": (
        "python3 -c 'import os, signal; [os.fork() or signal.pause() for _ in range(999)]'",
        "BlockingIO",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_by_a_packages_own_tests_fails(server: Server, attack: str) -> None:
    """What the tests try is refused, fails the job, and leaves the server as it was."""
    command, answer = ATTACKS[attack]
    ended = run(server, command)
    assert ended.code != 0
    assert answer in ended.output
    assert server.state() == "running"


def test_endless_output_is_cut(server: Server) -> None:
    """A job that prints without end is ended at 256 MiB, which lie in memory only as long as the job is there."""
    ended = run(server, "yes | head -c 300M")
    assert ended.code != 0
    assert ended.printed <= 256 * 2**20 + 9000


def test_a_child_that_leaves_its_session_ends_with_the_job(server: Server) -> None:
    """Nothing that the tests started is still there when the job has ended."""
    assert run(server, "setsid sleep 987 > /dev/null 2>&1 & sleep 0.1").code == 0
    assert "987" not in server.run("ps", "ax", "-o", "args").stdout
