"""The doctor's round, in the order in which a deployment would meet each thing; nothing that it does changes a host.

1. home       keys, their files, the metadata's expiry, policies, disk  home.py
2. ports      what agents connect to, where pushes are announced        ports.py
3. store      put, read, list, sign an address, delete one small object store.py
4. notices    secrets of channels and repositories                      notices.py
5. builder    somebody builds what is pushed                            builder.py
6. sources    credentials and permissions, by asking each               sources.py
7. fleet      clocks, versions and connections of the agents            fleet.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clarion_controller.api.answers import Finding, Health, HostAnswer, SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.doctor.builder import examine_builder
from clarion_controller.doctor.fleet import examine_fleet
from clarion_controller.doctor.home import examine_home
from clarion_controller.doctor.notices import examine_notices
from clarion_controller.doctor.ports import examine_hooks, examine_ports
from clarion_controller.doctor.sources import examine_sources
from clarion_controller.doctor.store import examine_store
from clarion_controller.durable_files import disk_trouble
from clarion_protocol.errors import ClarionError

LONGEST = 60.0  # seconds for one part of the round; a store that hangs must not hide what the others say
# The doctor's own: what hangs goes on for minutes, and the loop's threads hand out metadata and look up names.
_THREADS = ThreadPoolExecutor(16, "doctor")


@dataclass(frozen=True)
class Patient:
    """The controller, as far as its doctor needs to know it; `sources` and `hosts` are asked once per environment.

    `builder_seen` is when a builder was last heard from, in UTC seconds.
    """

    cluster: Cluster
    sources: Callable[[str], list[SourceAnswer]]
    hosts: Callable[[str], list[HostAnswer]]
    builder_seen: float | None = None


async def examine(patient: Patient) -> list[Finding]:
    """Return what was found, each part in a thread of its own, all in the order of the round."""
    cluster = patient.cluster
    aside = partial(_aside, cluster.home)
    by_itself = [
        aside("home", lambda: examine_home(cluster)),
        aside("ports", lambda: examine_ports(cluster.at_start)),
        aside("hooks", lambda: examine_hooks(cluster.fleet, cluster.at_start)),
        aside("store", lambda: examine_store(cluster.fleet.store, cluster.home)),
        aside("notices", lambda: examine_notices(cluster.fleet, cluster.home)),
    ]
    findings = [finding for part in await asyncio.gather(*by_itself) for finding in part]
    findings += examine_builder(cluster.fleet, patient.builder_seen, time.time())
    for environment in sorted(cluster.fleet.environment):
        findings += examine_sources(environment, patient.sources(environment))
        findings += examine_fleet(environment, patient.hosts(environment))
    return findings


async def _aside(home: Path, subject: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    looking = asyncio.get_running_loop().run_in_executor(_THREADS, _looked, home, look)
    try:
        return await asyncio.wait_for(looking, LONGEST)
    except asyncio.TimeoutError:
        sentence = f"this was not over after {LONGEST:.0f} s"
        return [Finding(subject=subject, health=Health.FAILED, sentence=sentence, hint="Run 'clarion doctor' again.")]
    except ClarionError as error:
        return [failure(subject, error)]


def _looked(home: Path, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    with disk_trouble(home):
        return list(look())


def failure(subject: str, error: ClarionError) -> Finding:
    """Return an error as a finding."""
    return Finding(subject=subject, health=Health.FAILED, sentence=error.message, hint=error.hint or "")
