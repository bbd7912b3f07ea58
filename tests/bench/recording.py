"""What a report costs the controller from its delivery to its acknowledgement: checked, recorded, decided upon.

The floor is the check of its signature. The state lies in $TMPDIR: no fsync is counted, but a slow one lets more
reports share a turn.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.bench.row import Row
from tests.controller.fake_fleet import FakeFleet, FakeHost

from clarion_controller.gateway.gateway import Inbound
from clarion_controller.inbox import Inbox
from clarion_protocol.keys import SigningKey, public_key
from clarion_protocol.wire import Up
from clarion_protocol.words import HostStatus

HOSTS = 1000
A_SECOND = 300


def measure() -> list[Row]:
    """Return the rows for reports that come all at once, and one by one."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = enrolled(Path(folder))
        floor, at_once, in_turn = check(), asyncio.run(record(fleet, 0)), asyncio.run(record(fleet, 1 / A_SECOND))
    return [
        Row("controller CPU per report, all at once", HOSTS, at_once * 1e6, "us", floor),
        Row(f"controller CPU per report, {A_SECOND} a second", HOSTS, in_turn * 1e6, "us", floor),
    ]


def check(rounds: int = 500) -> float:
    """Return the CPU microseconds of checking one signature."""
    key = SigningKey.generate()
    signature, public = key.sign(b"x" * 700), public_key(key.public_hex)
    began = time.process_time()
    for _ in range(rounds):
        public.has_signed(signature, b"x" * 700)
    return (time.process_time() - began) / rounds * 1e6


def enrolled(folder: Path) -> FakeFleet:
    """Return a fleet that was told to stage a deployment."""
    fleet = FakeFleet(folder)
    for number in range(HOSTS):
        fleet.join(f"web-{number:04}")
    fleet.rollouts.turn([])
    fleet.deploy()
    return fleet


async def record(fleet: FakeFleet, pause: float) -> float:
    """Return the CPU seconds for each of `HOSTS` reports, one each `pause` seconds, until the last acknowledgement."""
    said = [report_of(host, fleet.clock()) for host in fleet.hosts.values()]
    inbox = Inbox()
    turns = asyncio.create_task(fleet.rollouts.run(inbox))
    await asyncio.sleep(0.5)
    used, began = time.process_time(), time.perf_counter()
    for number, inbound in enumerate(said):
        if (early := began + number * pause - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        inbox.deliver([inbound])
    while any(host.outbox for host in fleet.hosts.values()):
        await fleet.rollouts.wait_for_change(1.0)
    turns.cancel()
    return (time.process_time() - used) / HOSTS


def report_of(host: FakeHost, now: float) -> Inbound:
    """Return a host's next report of its progress."""
    host.status = HostStatus.VERIFYING if host.status is HostStatus.PULLING else HostStatus.PULLING
    host.say(now, host.status)
    [body] = host.outbox.values()
    return Inbound(host.id, Up.REPORT, body)
