"""The whole controller and a host with the agent's own sockets: from the token to the committed report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zmq
from tests.controller.live import Live, live, new_cluster
from tests.controller.test_serve import serving, wait_until_ready
from tests.stores import Cluster

from clarion_agent.identity import Identity, load_identity
from clarion_agent.net.applicant import Wish
from clarion_agent.net.join import join
from clarion_agent.net.line import Line, Route
from clarion_agent.net.sockets import Peer
from clarion_controller.api.answers import InviteRequest, PlanRequest
from clarion_controller.client.calls import Controller
from clarion_controller.cluster import Cluster as ServedCluster
from clarion_controller.key_files import KeyFolder
from clarion_protocol import strict_json
from clarion_protocol.documents import Deployment, Progress, Report, Signal
from clarion_protocol.dsse import parse
from clarion_protocol.invite import read_token
from clarion_protocol.policy import Policy
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.trust import Floor, Standpoint, accept_beacon, accept_deployment, accept_signal
from clarion_protocol.wire import Ack, Ask, Down, Up
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

PATIENCE_MS = 10_000


@contextmanager
def connected(identity: Identity) -> Iterator[Line]:
    """Connect a host that has joined, as its agent would."""
    record = identity.record
    own = TransportKey.from_secret(identity.transport_secret)
    route = Route(
        Peer(record.address, record.server_key, own), record.signal_port, record.report_port, record.environment
    )
    with zmq.Context() as context:
        line = Line(context, route)
        line.dial(route)
        deadline = time.monotonic() + 10
        while not line.is_up:
            assert line.trouble() is None
            assert time.monotonic() < deadline
            # An agent always looks at both; until somebody does, libzmq does not even send the subscription.
            line.signals.socket.poll(10)
        line.signals.socket.poll(100)
        try:
            yield line
        finally:
            line.close()


class WireHost:
    """A host that says its part over real sockets and believes what an agent would believe."""

    def __init__(self, identity: Identity, line: Line, policy: Policy, seq: int = 0) -> None:
        self.identity, self.line, self.policy, self.seq = identity, line, policy, seq

    @property
    def stand(self) -> Standpoint:
        """Who this host is and what time it is."""
        return Standpoint(self.identity.record.host, self.policy, time.time())

    def ask(self) -> list[bytes]:
        """Return the envelopes that answer a question for everything."""
        self.line.reports.send(Up.ASK.value, strict_json.dumps(Ask()))
        return self._hear(Down.STATE)

    def report(self, deployment: Deployment, status: HostStatus) -> None:
        """Report and wait for the acknowledgement."""
        self.seq += 1
        progress = Progress(deployment=deployment.id, stream=deployment.stream, status=status)
        record = self.identity.record
        report = Report(cluster=record.cluster, host=record.host, seq=self.seq, at=int(time.time()), progress=progress)
        self.line.reports.send(Up.REPORT.value, report.sealed(self.identity.sign_key))
        (body,) = self._hear(Down.ACK)
        assert msgspec.json.decode(body, type=Ack).seq == self.seq

    def signal(self, deployment: Deployment) -> Signal:
        """Return the next signal of this deployment that is broadcast."""
        while True:
            envelope = self.broadcast()
            if parse(envelope).payloadType == Signal.payload_type:
                return accept_signal(envelope, self.stand, Floor(), deployment)[0]

    def broadcast(self) -> bytes:
        """Return the next thing that is broadcast to this environment."""
        assert self.line.signals.socket.poll(PATIENCE_MS), "nothing was broadcast"
        topic, envelope = self.line.signals.socket.recv_multipart()
        assert topic == self.identity.record.environment.encode()
        return envelope

    def first_beacon(self, controller: Live) -> bytes:
        """Return a beacon; a subscription takes a moment to reach the controller, so it may take several."""
        for _ in range(50):
            controller.on_loop(lambda: setattr(controller.desk.rollouts._out, "_beaconed", 0.0))
            controller.turn()
            if self.line.signals.socket.poll(200):
                return self.broadcast()
        raise AssertionError("no beacon was heard")

    def _hear(self, kind: Down) -> list[bytes]:
        while True:
            assert self.line.reports.socket.poll(PATIENCE_MS), "nothing was answered"
            said, *bodies = self.line.reports.socket.recv_multipart()
            if said == kind.value:
                return bodies


def policy_of(cluster: Cluster) -> Policy:
    """Return what a host has learnt through the package metadata."""
    return ServedCluster.at(cluster.home).policy("production")


def joined(client: Controller, state: Path) -> Identity:
    """Join with a token from the API, over the join port."""
    token = client.invite(InviteRequest(environment="production", name="web-1")).token
    join(read_token(token), Wish(), state, lambda record, root: None)
    return load_identity(state)


def test_a_host_joins_and_is_taken_through_a_deployment(tmp_path: Path) -> None:
    """Token, join, order, stage, lease, commit: every message over CURVE, every envelope verified."""
    cluster = new_cluster(tmp_path)
    cluster.publish("1.0.0")
    with live(cluster.home) as controller:
        identity = joined(controller.client, tmp_path / "agent")
        with connected(identity) as line:
            host = WireHost(identity, line, policy_of(cluster))
            assert host.ask() == []
            host.first_beacon(controller)
            plan = controller.client.plan(PlanRequest(app="shop", environment="production", version="1.0.0"))
            began = controller.client.order(plan.deployment.sealed(controller.deployer))
            deployment, stage = host.ask()
            accepted = accept_deployment(deployment, host.stand, Floor()).deployment
            assert accept_signal(stage, host.stand, Floor(), accepted)[0].verb is Verb.STAGE
            assert host.signal(accepted).verb is Verb.STAGE
            host.report(accepted, HostStatus.STAGED)
            lease = host.signal(accepted)
            assert (lease.verb, lease.targets.hosts) == (Verb.LEASE, [identity.record.host])
            host.report(accepted, HostStatus.COMMITTED)
            assert controller.client.deployment(began.id).status is DeploymentStatus.SUCCEEDED


def test_a_beacon_tells_who_only_listens(tmp_path: Path) -> None:
    """The time, and the heads of all streams, signed by the beacon key."""
    cluster = new_cluster(tmp_path)
    with live(cluster.home) as controller:
        identity = joined(controller.client, tmp_path / "agent")
        with connected(identity) as line:
            host = WireHost(identity, line, policy_of(cluster))
            beacon = accept_beacon(host.first_beacon(controller), host.stand)
            assert abs(beacon.time - time.time()) < 10
            assert beacon.heads == {}


def test_a_revoked_host_is_not_heard_any_more(tmp_path: Path) -> None:
    """Its connection stands, and nothing that it says on it is believed or answered."""
    cluster = new_cluster(tmp_path)
    with live(cluster.home) as controller:
        identity = joined(controller.client, tmp_path / "agent")
        with connected(identity) as line:
            host = WireHost(identity, line, policy_of(cluster))
            host.ask()
            controller.client.revoke("web-1", "production")
            line.reports.send(Up.ASK.value, strict_json.dumps(Ask()))
            assert not line.reports.socket.poll(500)


def test_a_controller_killed_in_the_middle_finishes_the_rollout(tmp_path: Path) -> None:
    """SIGKILL after the lease was given; the next start knows the host, acknowledges its word and concludes."""
    cluster = new_cluster(tmp_path)
    cluster.publish("1.0.0")
    policy = policy_of(cluster)
    with serving(cluster.home) as process:
        client = wait_until_ready(process, cluster.home)
        identity = joined(client, tmp_path / "agent")
        with connected(identity) as line:
            host = WireHost(identity, line, policy)
            plan = client.plan(PlanRequest(app="shop", environment="production", version="1.0.0"))
            began = client.order(plan.deployment.sealed(KeyFolder(cluster.home / "keys").read("deployer")))
            deployment = accept_deployment(host.ask()[0], host.stand, Floor()).deployment
            host.report(deployment, HostStatus.STAGED)
            process.kill()
    with serving(cluster.home) as process:
        client = wait_until_ready(process, cluster.home)
        with connected(identity) as line:
            host = WireHost(identity, line, policy, seq=1)
            _, lease = host.ask()
            assert accept_signal(lease, host.stand, Floor(), deployment)[0].verb is Verb.LEASE
            host.report(deployment, HostStatus.COMMITTED)
            assert client.deployment(began.id).status is DeploymentStatus.SUCCEEDED
