"""A cluster whose sources answer what a test wants, for Discovery."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from tests.controller.fake_fleet import Clock

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discovery import Discovery
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_protocol.errors import CloudUnavailable

AWS = '{ aws = { regions = ["eu-west-1"], tags = { role = "web" } } }'
GCP = '{ gcp = { project = "acme" } }'
AWAY = CloudUnavailable("aws eu-west-1 cannot be reached", hint="Look at its status page.")


def servers(*numbers: int) -> list[Discovered]:
    """Return servers as EC2 would list them."""
    return [Discovered(name="web", source="aws", instance=f"aws:i-{number:08x}") for number in numbers]


@dataclass
class Clouds:
    """What the sources answer: hosts or an error, by the kind of source; and how often each was asked."""

    says: dict[str, list[Discovered] | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event | None = None

    async def ask(self, source: HostSource, home: Path) -> list[Discovered]:
        """Answer, once the gate is open."""
        assert home.is_absolute()
        self.asked.append(source.kinds[0])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
        finally:
            self.at_once -= 1
        answer = self.says[source.kinds[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Rig:
    """A cluster whose sources say what a test wants."""

    home: Path
    clouds: Clouds = field(default_factory=Clouds)
    clock: Clock = field(default_factory=Clock)

    def write(self, hosts: str, more: str = "") -> None:
        """Write fleet.toml: the sources of production, and what comes after."""
        (self.home / "fleet.toml").write_text(f"[environment.production]\nhosts = [{hosts}]\n{more}\n")

    def discovery(self) -> Discovery:
        """Return a discovery as after a start of the controller."""
        return Discovery(Cluster.at(self.home), self.clouds.ask, self.clock)


def refreshed(found: Discovery, environment: str = "production") -> Discovery:
    """Ask all sources now."""
    asyncio.run(found.refresh(environment))
    return found


def only(found: Discovery) -> SourceAnswer:
    """Return how the only source is."""
    [answer] = found.sources("production")
    return answer
