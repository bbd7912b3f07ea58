"""A fleet of simulated hosts in a few processes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clarion_protocol.keys import SigningKey
from clarion_protocol.transport_keys import TransportKey

PROGRAM = Path(__file__).with_name("simulated_hosts.py")


@dataclass
class Member:
    """One host's ids and keys."""

    host: str
    sign: SigningKey = field(default_factory=SigningKey.generate)
    transport: TransportKey = field(default_factory=TransportKey.generate)


def members(count: int) -> list[Member]:
    """Return `count` new hosts."""
    return [Member(f"{number:032x}") for number in range(count)]


class Fleet:
    """Running hosts; each process gets its share of `hosts` and the same `task`."""

    def __init__(self, hosts: list[Member], task: dict[str, Any], processes: int = 2) -> None:
        self._processes = [_start(hosts[number::processes], task) for number in range(processes)]

    def wait_until_ready(self) -> None:
        """Wait until all are connected."""
        for process in self._processes:
            if _line(process) != "ready":
                raise SystemExit("the simulated hosts did not start")

    def cpu_seconds(self) -> float:
        """Return what all processes together have used so far."""
        total = 0.0
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("cpu\n")
            process.stdin.flush()
            total += float(_line(process))
        return total

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.communicate(timeout=30)


def _start(hosts: list[Member], task: dict[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    secrets = [{"host": each.host, "sign": each.sign.seed.hex(), "transport": each.transport.secret} for each in hosts]
    assert process.stdin is not None
    process.stdin.write(json.dumps({**task, "hosts": secrets}) + "\n")
    process.stdin.flush()
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
