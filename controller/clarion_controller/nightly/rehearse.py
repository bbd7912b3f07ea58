"""THE LIST: fresh servers take what is in force in an environment, and nothing of production is touched.

1. wanted     what is in force, and on which roles it belongs           night.py, servers.py
2. found      a cluster of its own in a temporary folder, own keys      rehearsal_cluster.py
3. publish    the very same bytes, compared with what production says   rehearsal_cluster.py
4. serve      its controller, where fresh servers reach it              rehearsal_serve.py
5. make       a server for each role, from nothing, with a token        servers.py, provisioners/
6. join       wait until its agent is connected                         servers.py
7. deploy     each app to the servers that should have it, at once      rehearsal_deploy.py
8. integrate  what must answer between them does                        integration.py
9. take away  everything, whatever happened                             servers.py

A step that fails for one server does not keep the others from the next.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.api.answers import InviteRequest
from clarion_controller.integration import APP, applying
from clarion_controller.nightly.integration import Ground, Member, check_between
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.rehearsal_cluster import Production, Rehearsal
from clarion_controller.nightly.rehearsal_deploy import deploy_all
from clarion_controller.nightly.rehearsal_order import Orderer
from clarion_controller.nightly.rehearsal_process import serving
from clarion_controller.nightly.report import Check, Result
from clarion_controller.nightly.servers import Making, Server, make, take_away, wanted_apps
from clarion_controller.nightly.servers_place import Place, place_for
from clarion_controller.roles import Integration
from clarion_protocol.errors import ClarionError

Opening = Callable[[Night, str], AbstractContextManager[Place]]


def rehearse(night: Night, environment: str, opening: Opening = place_for) -> list[Check]:
    """Return whether each role of an environment can be built from nothing, and what must answer between them does.

    `opening` opens the place where its servers are made.
    """
    roles = night.fleet.in_environment(environment).roles
    in_force = {each.app: each.version for each in night.wanted_in(environment) if each.app != APP}
    if not roles:
        why = f'no role is named: add roles = ["web"] to [environment.{environment}], and [role.web]'
        return [_skipped(f"servers {environment}", environment, why)]
    if not in_force:
        return [_skipped(_name(environment, role), environment, "nothing is in force there yet") for role in roles]
    try:
        return _rehearsed(night, environment, in_force, opening)
    except ClarionError as error:
        names = [_name(environment, role) for role in roles]
        why = f"the rehearsal broke down: {error.message}"
        return [Check(name=name, environment=environment, result=Result.BROKEN, reason=why) for name in names]


def _rehearsed(night: Night, environment: str, in_force: Mapping[str, str], opening: Opening) -> list[Check]:
    with opening(night, environment) as place, _stage(night, environment, in_force, place) as stage:
        servers = _servers(night, environment, in_force, place)
        try:
            until = min(time.monotonic() + night.fleet.nightly.server_deadline, night.deadline)
            night.log(f"{environment}: making {', '.join(server.name for server in servers)}")
            make(servers, Making(night.run, night.home, stage.token, stage.has_joined, until))
            night.log(f"{environment}: deploying {', '.join(in_force)}")
            deploy_all(stage.orderer, servers, in_force, until)
            between = [_between(night, stage, servers, each) for each in applying(night.fleet, environment)]
            return [*(_judged(environment, server) for server in servers), *between]
        finally:
            take_away(servers, night.log)


@dataclass(frozen=True)
class _Stage:
    """What a rehearsal is played on: its cluster, whose controller serves, and who orders there."""

    rehearsal: Rehearsal
    orderer: Orderer
    work: Path
    server_deadline: float

    def token(self, server: Server) -> str:
        """Return a token with which only this server joins."""
        request = InviteRequest(
            environment=self.rehearsal.environment,
            name=server.name,
            groups=list(server.role.groups),
            ttl=self.server_deadline,
        )
        return self.orderer.controller.invite(request).token

    def has_joined(self, server: Server) -> bool:
        """Return whether the agent of this server is connected."""
        hosts = self.orderer.controller.hosts(self.rehearsal.environment)
        return any(host.is_connected for host in hosts if host.name == server.name)


@contextmanager
def _stage(night: Night, environment: str, in_force: Mapping[str, str], place: Place) -> Iterator[_Stage]:
    # A short name: a socket's path, far below it, has no more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="r-", dir=night.work) as folder:
        work = Path(folder)
        rehearsal = Rehearsal.found(work / "home", environment, place.address)
        production = Production(night.home, night.fleet)
        for app, version in in_force.items():
            production.give(app, version, rehearsal, work)
        with serving(rehearsal, place.start):
            yield _Stage(rehearsal, rehearsal.orderer(), work, float(night.fleet.nightly.server_deadline))


def _servers(night: Night, environment: str, in_force: Mapping[str, str], place: Place) -> list[Server]:
    roles = {name: night.fleet.role[name] for name in night.fleet.in_environment(environment).roles}
    return [Server(name, role, place.provisioner(role), wanted_apps(role, in_force)) for name, role in roles.items()]


def _between(night: Night, stage: _Stage, servers: Sequence[Server], integration: Integration) -> Check:
    for server in servers:
        if server.role_name in (integration.from_, integration.to) and not server.is_well:
            environment = stage.rehearsal.environment
            why = f"{_name(environment, server.role_name)} is broken"
            return _skipped(f"integration {integration.name} in {environment}", environment, why)
    members = {server.role_name: [Member(server.name, server.address)] for server in servers}
    return check_between(
        Ground(stage.rehearsal.home, stage.orderer, members, programs=night.home, work=stage.work), integration
    )


def _judged(environment: str, server: Server) -> Check:
    return Check(
        name=_name(environment, server.role_name),
        environment=environment,
        result=Result.WORKS if server.is_well else Result.BROKEN,
        reason=server.failure,
        log=server.log,
        seconds=sum(server.parts.values()),
        parts=server.parts,
    )


def _name(environment: str, role: str) -> str:
    return f"server {environment}/{role}"


def _skipped(name: str, environment: str, why: str) -> Check:
    return Check(name=name, environment=environment, result=Result.SKIPPED, reason=why)
