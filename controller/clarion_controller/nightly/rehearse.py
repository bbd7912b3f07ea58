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
from clarion_controller.fleet_toml.roles import INTEGRATION_APP, Integration
from clarion_controller.integration import applying
from clarion_controller.nightly.integration import Ground, Member, check_between, name_of
from clarion_controller.nightly.night import Night
from clarion_controller.nightly.rehearsal_cluster import Production, Rehearsal
from clarion_controller.nightly.rehearsal_deploy import deploy_all
from clarion_controller.nightly.rehearsal_order import Orderer
from clarion_controller.nightly.rehearsal_process import serving
from clarion_controller.nightly.report import Check, Result
from clarion_controller.nightly.servers import Making, Server, make, take_away, wanted_apps
from clarion_controller.nightly.servers_place import Place, place_for
from clarion_protocol.errors import ClarionError

Opening = Callable[[Night, str], AbstractContextManager[Place]]


def rehearse(night: Night, environment: str, opening: Opening = place_for) -> list[Check]:
    """Return whether each role of an environment can be built from nothing, and what must answer between them does.

    `opening` opens the place where its servers are made.
    """
    roles = night.fleet.in_environment(environment).roles
    in_force = {each.app: each.version for each in night.wanted_in(environment) if each.app != INTEGRATION_APP}
    if not roles:
        why = f'no role is named: add roles = ["web"] to [environment.{environment}], and [role.web]'
        return [_skipped(f"servers {environment}", environment, why)]
    if not in_force:
        return _none(night, environment, Result.SKIPPED, "nothing is in force there yet")
    try:
        return _rehearsed(night, environment, in_force, opening)
    except ClarionError as error:
        return _none(night, environment, Result.BROKEN, f"the rehearsal broke down: {error.sentences}")


def _none(night: Night, environment: str, result: Result, why: str) -> list[Check]:
    """Return the checks of an environment in which no server was judged."""
    servers = [_name(environment, role) for role in night.fleet.in_environment(environment).roles]
    between = [name_of(each, environment) for each in applying(night.fleet, environment)]
    return [
        *(Check(name=name, environment=environment, result=result, reason=why) for name in servers),
        *(_skipped(name, environment, why) for name in between),
    ]


def _rehearsed(night: Night, environment: str, in_force: Mapping[str, str], opening: Opening) -> list[Check]:
    with opening(night, environment) as place, _stage(night, environment, in_force, place) as stage:
        servers = _servers(night, environment, in_force, place)
        _fail_without(stage.missing, servers)
        try:
            until = min(time.monotonic() + night.fleet.nightly.server_deadline, night.deadline)
            night.log(f"{environment}: making {', '.join(server.name for server in servers)}")
            make(servers, Making(night.run, night.home, stage.token, stage.has_joined, until))
            night.log(f"{environment}: deploying {', '.join(in_force)}")
            deploy_all(stage.orderer, servers, in_force, until)
            between = [_between(night, stage, servers, each) for each in applying(night.fleet, environment)]
            return [*(_judged(environment, server, in_force) for server in servers), *between]
        finally:
            take_away(servers, night.log)


@dataclass(frozen=True)
class _Stage:
    """What a rehearsal is played on: its cluster, whose controller serves, and who orders there.

    `missing` says of an app why it could not be published in it.
    """

    rehearsal: Rehearsal
    missing: Mapping[str, str]
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
        missing = _publish(night, in_force, rehearsal, work)
        with serving(rehearsal, place.start):
            yield _Stage(rehearsal, missing, rehearsal.orderer(), work, float(night.fleet.nightly.server_deadline))


def _publish(night: Night, in_force: Mapping[str, str], rehearsal: Rehearsal, work: Path) -> dict[str, str]:
    """Publish what is in force in the rehearsal; return of which app that failed, and why."""
    production, missing = Production(night.home, night.fleet), dict[str, str]()
    for app, version in in_force.items():
        try:
            production.give(app, version, rehearsal, work)
        except ClarionError as error:  # noqa: PERF203 (a few apps)
            missing[app] = f"{app} {version} could not be had: {error.message}"
    return missing


def _fail_without(missing: Mapping[str, str], servers: Sequence[Server]) -> None:
    for server in servers:
        for app in (each for each in server.apps if each in missing):
            server.fail(missing[app])


def _servers(night: Night, environment: str, in_force: Mapping[str, str], place: Place) -> list[Server]:
    roles = {name: night.fleet.role[name] for name in night.fleet.in_environment(environment).roles}
    return [Server(name, role, place.provisioner(role), wanted_apps(role, in_force)) for name, role in roles.items()]


def _between(night: Night, stage: _Stage, servers: Sequence[Server], integration: Integration) -> Check:
    for server in servers:
        if server.role_name in (integration.from_, integration.to) and not server.is_well:
            environment = stage.rehearsal.environment
            why = f"{_name(environment, server.role_name)} is broken"
            return _skipped(name_of(integration, environment), environment, why)
    members = {server.role_name: [Member(server.name, server.address)] for server in servers}
    return check_between(
        Ground(stage.rehearsal.home, stage.orderer, members, programs=night.home, work=stage.work), integration
    )


def _judged(environment: str, server: Server, in_force: Mapping[str, str]) -> Check:
    runs = ", ".join(f"{app} {in_force[app]}" for app in server.apps) or "nothing is meant for it"
    return Check(
        name=_name(environment, server.role_name),
        environment=environment,
        result=Result.WORKS if server.is_well else Result.BROKEN,
        reason=server.failure or runs,
        findings=(server.hint,) if server.hint else (),
        log=server.log,
        seconds=sum(server.parts.values()),
        parts=server.parts,
    )


def _name(environment: str, role: str) -> str:
    return f"server {environment}/{role}"


def _skipped(name: str, environment: str, why: str) -> Check:
    return Check(name=name, environment=environment, result=Result.SKIPPED, reason=why)
