"""As much of a controller as a benchmark of the wire needs: keys, documents, and what it knows of its hosts."""

from __future__ import annotations

import time

from tests.bench.fleet import Member

from clarion_controller.gateway.gateway import Inbound
from clarion_protocol.documents import Deployment, Plan, Signal, Targets, digest_of
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import Policy
from clarion_protocol.strict_json import dumps
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.trust import accept_report
from clarion_protocol.words import Verb

CLUSTER = "c" * 32


class Controller:
    """The keys of a controller, and the documents that its hosts have accepted."""

    def __init__(self, hosts: list[Member]) -> None:
        self.hosts = hosts
        self.by_transport = {host.transport.public: host.host for host in hosts}
        self.sign_keys = {host.host: host.sign.public_hex for host in hosts}
        self.last_seq = dict.fromkeys(self.sign_keys, 0)
        self.transport = TransportKey.generate()
        self.key = SigningKey.generate()
        key = self.key.public_hex
        self.policy = Policy(cluster=CLUSTER, environment="production", deployers=[key], signals=[key], beacons=[key])
        now = int(time.time())
        self.deployment = Deployment(
            id="d" * 32,
            cluster=CLUSTER,
            environment="production",
            stream="production/shop",
            epoch=1,
            seq=1,
            app="shop",
            version="1.1.0",
            release=2,
            path="shop/shop-1.1.0.tar.zst",
            length=1000,
            sha256="e" * 64,
            targets=Targets(all=True),
            plan=Plan(),
            issued_at=now,
            not_before=now,
            expires=now + 3600,
        )

    def host_of(self, transport_key: str) -> str | None:
        """Return the owner of a key."""
        return self.by_transport.get(transport_key)

    def signal(self, seq: int) -> bytes:
        """Return a signed lease for everybody."""
        now = int(time.time())
        return Signal(
            cluster=CLUSTER,
            environment="production",
            stream="production/shop",
            seq=seq,
            deployment=self.deployment.id,
            deployment_sha256=digest_of(self.deployment),
            verb=Verb.LEASE,
            targets=Targets(all=True),
            issued_at=now,
            expires=now + 60,
        ).sealed(self.key)

    def verify(self, inbound: Inbound) -> None:
        """Believe a report, as the controller does."""
        report = accept_report(inbound.body, inbound.host, self.sign_keys[inbound.host], self.last_seq[inbound.host])
        self.last_seq[inbound.host] = report.seq

    def task(self, kind: str, signal_port: int, report_port: int) -> dict[str, str]:
        """Return what hosts of this controller are told to be."""
        return {
            "kind": kind,
            "server_key": self.transport.public,
            "signal_port": str(signal_port),
            "report_port": str(report_port),
            "policy": dumps(self.policy).decode(),
            "deployment": dumps(self.deployment).decode(),
        }
