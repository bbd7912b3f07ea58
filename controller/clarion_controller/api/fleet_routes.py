"""The routes about servers: which there are, who may join, what is not well with them."""

from __future__ import annotations

from importlib.metadata import version as version_of

from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from clarion_controller.api.answers import (
    Finding,
    FleetAnswer,
    HostAnswer,
    InvitationAnswer,
    InviteAnswer,
    InviteRequest,
    OneHostAnswer,
    SourceAnswer,
)
from clarion_controller.api.desk import Asked, TheDesk, environments_of
from clarion_controller.doctor.examine import Patient, examine
from clarion_controller.fleet_toml.fleet import unknown


@get("/v1/fleet")
async def fleet(desk: TheDesk) -> FleetAnswer:
    """Say who this controller is."""
    name = desk.cluster.fleet.cluster.name
    return FleetAnswer(desk.cluster.id, name, version_of("clarion"), sorted(desk.cluster.fleet.environment))


@get("/v1/hosts")
async def hosts(desk: TheDesk, environment: Asked = None, app: Asked = None) -> list[HostAnswer]:
    """List hosts: all, those of an environment, those on which an app runs."""
    found = [host for each in environments_of(desk, environment) for host in desk.views.hosts(each)]
    return [host for host in found if app is None or any(running.app == app for running in host.running)]


@get("/v1/hosts/{name:str}")
async def one_host(desk: TheDesk, name: FromPath[str], environment: FromQuery[str]) -> OneHostAnswer:
    """Show one host and how far it has come; who waits for it asks again and again, and the fleet is large."""
    environments_of(desk, environment)
    return desk.views.one_host(environment, name)


@get("/v1/sources")
async def sources(desk: TheDesk, environment: Asked = None) -> list[SourceAnswer]:
    """List the sources of hosts, how many each lists, and what is wrong with it."""
    return [source for each in environments_of(desk, environment) for source in desk.discovery.sources(each)]


@delete("/v1/hosts/{name:str}", status_code=200)
async def revoke_host(desk: TheDesk, name: FromPath[str], environment: FromQuery[str]) -> HostAnswer:
    """Shut a host out; what runs there goes on running."""
    environments_of(desk, environment)
    host = desk.roster.named(environment, name)
    if host is None:
        known = [each.name for each in desk.roster.of(environment)]
        raise unknown("host", name, known, hint=f"Run 'clarion hosts -e {environment}' to see them.")
    answer = desk.views.host(host)
    desk.revoke(host)
    return answer


@post("/v1/invites", status_code=200)
async def invite(desk: TheDesk, data: JSONBody[InviteRequest]) -> InviteAnswer:
    """Make a join token."""
    return desk.inviter.invite(data)


@get("/v1/invites")
async def invitations(desk: TheDesk, environment: Asked = None) -> list[InvitationAnswer]:
    """List the join tokens that somebody could still join with; none of them shows its secret."""
    return [
        InvitationAnswer(
            id=id_,
            environment=each.environment,
            name=each.name,
            groups=list(each.groups),
            uses_left=each.uses_left,
            expires=each.expires,
        )
        for known in environments_of(desk, environment)
        for id_, each in desk.roster.open_invitations(known).items()
    ]


@delete("/v1/invites/{invite_id:str}", status_code=204)
async def withdraw(desk: TheDesk, invite_id: FromPath[str], environment: FromQuery[str]) -> None:
    """Let nobody join with a token any more."""
    environments_of(desk, environment)
    desk.roster.withdraw(invite_id, environment)


@get("/v1/doctor")
async def doctor(desk: TheDesk) -> list[Finding]:
    """Look at everything that a deployment will need; every source of hosts is asked anew."""
    for environment in environments_of(desk, None):
        await desk.discovery.refresh(environment)
    return await examine(Patient(desk.cluster, desk.discovery.sources, desk.views.hosts, desk.builds.builder_seen))


ROUTES = [fleet, hosts, one_host, sources, revoke_host, invite, invitations, withdraw, doctor]
