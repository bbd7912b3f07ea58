"""How the parts of a controller hang together; nothing else makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clarion_controller.api.desk import Desk
from clarion_controller.api.listing import Listing
from clarion_controller.api.views import Views
from clarion_controller.builds.after_build import AfterBuild
from clarion_controller.builds.auto_deploy import AutoDeploy
from clarion_controller.builds.builds import Builds
from clarion_controller.builds.run_clarion import Clarion
from clarion_controller.builds.standing import Order
from clarion_controller.cluster import Cluster
from clarion_controller.discover.attempts import Ask
from clarion_controller.discovery import Discovery
from clarion_controller.enrolment import RosterEnrolment
from clarion_controller.gateway.enrol import JoinPort, JoinPortSettings
from clarion_controller.gateway.gateway import Gateway, GatewaySettings
from clarion_controller.history import History
from clarion_controller.inbox import Inbox
from clarion_controller.inviting import Inviter
from clarion_controller.key_files import KeyFolder
from clarion_controller.membership import Membership
from clarion_controller.planning import Planner
from clarion_controller.rollout import Rollouts, Settings
from clarion_controller.sign import Signer
from clarion_controller.state.database import open_database
from clarion_controller.state.log import StateLog
from clarion_controller.state.roster import Host, Roster
from clarion_controller.streams import document_in
from clarion_protocol.words import stream_of

RECENT = 20  # deployments among which that of a build is, if a crash came after it was ordered, or a person's since


@contextmanager
def assembled(cluster: Cluster, inbox: Inbox, ask: Ask) -> Iterator[Desk]:
    """Put the parts together and open the ports that agents come to; `ask` asks the sources of hosts.

    Raises:
        BadConfig: a key, the database or a port cannot be used.
    """
    at, keys = cluster.at_start, KeyFolder(cluster.home / "keys")
    transport = keys.read_transport()
    secret = bytes.fromhex(transport.secret)
    loop = asyncio.get_running_loop()
    database = open_database(cluster.home / "state" / "clarion.db")
    log = StateLog(database)
    roster = Roster(database, log)
    gateway = Gateway(GatewaySettings(at.bind, at.signal_port, at.report_port, secret), roster, inbox.deliver)
    signer = Signer(cluster.id, keys.read("signal"), keys.read("beacon"))
    discovery = Discovery(cluster, ask)
    membership = Membership(cluster, discovery, roster)
    settings = Settings(signer, membership.members, float(at.unreachable_after))
    rollouts = Rollouts(settings, log, roster, gateway)
    history = History(log, rollouts.streams)
    views = Views(membership, rollouts, roster, history)

    def welcome(host: Host) -> None:
        rollouts.host_joined(host)
        membership.welcome(host)

    def joined(host: Host) -> None:
        loop.call_soon_threadsafe(welcome, host)

    def revoke(host: Host) -> None:
        roster.revoke(host)
        gateway.forget(host.id)
        rollouts.host_left(host)

    join_port = JoinPort(JoinPortSettings(at.bind, at.join_port, secret), RosterEnrolment(cluster, roster, joined))
    with ExitStack() as stack:
        stack.callback(database.dispose)
        builds = Builds(cluster)
        stack.callback(builds.close)
        gateway.start()
        stack.callback(gateway.stop)
        join_port.start()
        stack.callback(join_port.stop)
        yield Desk(
            cluster=cluster,
            rollouts=rollouts,
            roster=roster,
            log=log,
            history=history,
            planner=Planner(cluster, rollouts, roster, history, membership),
            inviter=Inviter(cluster, roster, transport.public),
            views=views,
            listing=Listing(log, history, views),
            discovery=discovery,
            membership=membership,
            builds=builds,
            revoke=revoke,
        )


def after_build(desk: Desk, api: Path) -> AfterBuild:
    """Return what publishes and deploys green builds, by commands of the controller whose API is at `api`."""

    def orders(environment: str, app: str) -> list[Order]:
        recent = desk.log.history(stream_of(environment, app), RECENT)
        documents = [(each.accepted_at, document_in(each.envelope)) for each in recent]
        return [Order(at, each.version, each.actor, each.reason) for at, each in documents]

    clarion = Clarion(desk.cluster.home, api)
    return AfterBuild(desk.builds, clarion, AutoDeploy(desk.builds, clarion, orders))
