"""One night while it runs: where, for which cluster, what is in force there, and until when it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import Fleet


@dataclass(frozen=True)
class InForce:
    """What the production controller wants of one app in one environment."""

    environment: str
    app: str
    version: str


@dataclass(frozen=True)
class Night:
    """What every step of a night is given; `controller` is production's, which is only asked.

    `run` marks everything that is made tonight, and `cluster` whose it is. `work` is a folder of this night alone, gone
    after it. `began` is in UTC seconds. At `deadline`, on the monotonic clock, `NightOver` is raised in the main
    thread; whatever waits waits no longer. `log` takes lines that say what is done now.
    """

    home: Path
    fleet: Fleet
    controller: Controller
    cluster: str
    run: str
    began: float
    deadline: float
    work: Path
    in_force: tuple[InForce, ...]
    log: Callable[[str], None]

    def wanted_in(self, environment: str) -> list[InForce]:
        """Return what is in force in an environment, by app."""
        return sorted((each for each in self.in_force if each.environment == environment), key=lambda each: each.app)


def date_of(moment: float) -> str:
    """Return the date, in UTC, of a time in UTC seconds."""
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
