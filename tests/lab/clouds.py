"""The clouds around a lab's servers: what lists them to the controller, and what tells each of them who it is.

The doubles are those of `tests/clouds`. They answer from this process, so that a test changes them directly; only
their sockets lie in the servers' networks, on the loopback, where each of them listens anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.clouds import fake_arm, fake_ec2, fake_gce
from tests.metadata_service import ADDRESS, MetadataService

from .inside import inside
from .lab import Lab
from .server import Server

HOSTS = """\
discover_every = "5s"
max_shrink = "50%"
hosts = [
    {{ aws = {{ regions = ["eu-west-1"], endpoint = "{aws}" }} }},
    {{ gcp = {{ project = "{project}", endpoint = "{gcp}" }} }},
    {{ azure = {{ subscriptions = ["{subscription}"], endpoint = "{azure}" }} }},
    {{ static = {static} }},
]
"""
KEYS = "AWS_ACCESS_KEY_ID=AKIATESTTESTTESTTEST\nAWS_SECRET_ACCESS_KEY=test-secret\n"
"""Boto3 signs whatever it asks; these open nothing."""


@dataclass(frozen=True)
class Instance:
    """One server of a cloud, as the cloud numbers it; its name there is not what the server calls itself."""

    cloud: str
    number: int

    @property
    def id(self) -> str:
        """What the metadata service tells the server."""
        if self.cloud == "aws":
            return fake_ec2.instance_id(self.number)
        return str(7_000_000_000_000_000_000 + self.number) if self.cloud == "gcp" else fake_arm.vm_id(self.name)

    @property
    def name(self) -> str:
        """What its cloud calls it."""
        return f"web-{self.number}"

    def __str__(self) -> str:
        return f"{self.cloud}:{self.id}"


@dataclass
class Ec2:
    """What the double of EC2 answers: what runs, or a trouble."""

    running: list[int] = field(default_factory=list)
    trouble: fake_ec2.Answer | None = None

    def answer(self, _: fake_ec2.Question) -> fake_ec2.Answer:
        """Return what a request gets now."""
        return self.trouble or fake_ec2.page("".join(map(fake_ec2.reservation, self.running)))


@dataclass(frozen=True)
class Clouds:
    """Three clouds, as the controller asks them."""

    ec2: Ec2
    gce: fake_gce.FakeGce
    arm: fake_arm.FakeArm
    ec2_address: str

    def hosts(self, *static: str) -> str:
        """Return the lines of fleet.toml that name them, and servers in none of them."""
        return HOSTS.format(
            aws=self.ec2_address,
            gcp=self.gce.address,
            project=fake_gce.PROJECT,
            azure=self.arm.url,
            subscription=fake_arm.SUBSCRIPTION,
            static=list(static),
        )

    def list(self, instance: Instance) -> None:
        """Have a cloud list an instance from now on."""
        if instance.cloud == "aws":
            self.ec2.running = [*self.ec2.running, instance.number]
        elif instance.cloud == "gcp":
            self.gce.add(instance.name, id=instance.id)
        else:
            self.arm.add(*fake_arm.Machine(name=instance.name).resources())

    def delist(self, instance: Instance) -> None:
        """Have EC2 list an instance no more."""
        self.ec2.running = [number for number in self.ec2.running if number != instance.number]


@contextmanager
def clouds_around(lab: Lab, control: Server) -> Iterator[Clouds]:
    """Run three clouds with nothing in them, which only the controller's server reaches."""
    there = partial(inside, lab.network.namespace(control.name))
    with ExitStack() as stack:
        ec2 = Ec2()
        address = there(lambda: stack.enter_context(fake_ec2.listening(ec2.answer))).endpoint
        gce = there(lambda: stack.enter_context(fake_gce.fake_gce()))
        arm = there(lambda: stack.enter_context(fake_arm.FakeArm()))
        yield Clouds(ec2, gce, arm, address)
        assert gce.complaints == []


@contextmanager
def cloud_around(lab: Lab, server: Server, instance: Instance) -> Iterator[None]:
    """Run a metadata service in a server's network, which tells it that it is `instance`."""
    with metadata_around(lab, server, instance.cloud, instance.id):
        yield


@contextmanager
def metadata_around(lab: Lab, server: Server, cloud: str, number: str) -> Iterator[None]:
    """Run a cloud's metadata service in a server's network, which tells it its number there."""
    lab.island.run("ip", "-netns", server.name, "address", "replace", f"{ADDRESS}/32", "dev", "lo")
    make = partial(MetadataService, cloud, number, (ADDRESS, 80))
    service = inside(lab.network.namespace(server.name), make)
    thread = threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        service.shutdown()
        service.server_close()
        thread.join(10)
