"""What is known before a night begins: where, what of it is wanted, and what production says is in force."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.client.calls import Controller
from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet
from clarion_controller.fleet_toml.roles import INTEGRATION_APP
from clarion_controller.initialise import cluster_id
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.night import InForce, Night
from clarion_protocol.errors import BadConfig
from clarion_protocol.words import new_id


@dataclass(frozen=True)
class Wishes:
    """What of a night is wanted; no `environments` are all of them."""

    environments: tuple[str, ...] = ()
    rebuild: bool = True
    servers: bool = True


@dataclass(frozen=True)
class Evening:
    """What is known before a night begins; `log` takes lines that say what is done now."""

    home: Path
    fleet: Fleet
    controller: Controller
    cluster: str
    wishes: Wishes
    log: Callable[[str], None]
    began: float

    @classmethod
    def at(cls, home: Path, controller: Controller, wishes: Wishes, log: Callable[[str], None]) -> Evening:
        """Return what is known of the cluster in `home`.

        Raises:
            NoCluster, BadConfig: there is none, its fleet.toml does not fit, or only root makes such servers.
            UnknownName: there is no such environment.
        """
        cluster, fleet = cluster_id(home), load_fleet(home / FILE_NAME)
        for environment in wishes.environments:
            fleet.in_environment(environment)
        if wishes.servers and os.geteuid() != 0 and _has_containers(fleet, wishes):
            raise BadConfig(
                "servers in containers are made by root",
                hint="Run 'sudo clarion nightly', or only what needs no root: 'clarion nightly --only rebuild'.",
            )
        return cls(home, fleet, controller, cluster, wishes, log, time.time())

    @property
    def reports(self) -> Reports:
        """The reports of earlier nights."""
        return Reports(self.home)


def _has_containers(fleet: Fleet, wishes: Wishes) -> bool:
    wanted = [fleet.in_environment(each) for each in wishes.environments or fleet.environment]
    return any(fleet.role[name].provisioner == "nspawn" for each in wanted for name in each.roles)


def ask(evening: Evening, work: Path) -> Night:
    """Ask what is in force.

    Raises:
        ControllerUnreachable: the controller does not answer.
    """
    began = time.monotonic()
    streams = evening.controller.status()
    return Night(
        home=evening.home,
        fleet=evening.fleet,
        controller=evening.controller,
        cluster=evening.cluster,
        run=new_id(),
        began=evening.began,
        deadline=began + evening.fleet.nightly.deadline,
        work=work,
        in_force=tuple(
            InForce(stream.environment, stream.app, stream.wanted)
            for stream in streams
            if stream.wanted and stream.app != INTEGRATION_APP
        ),
        log=evening.log,
    )
