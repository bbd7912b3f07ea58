"""Stands in for a server that boots on moto: joins with the token in its user data, and takes what is ordered."""

from __future__ import annotations

import base64
import re
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from tests.controller.live import Live
from tests.controller.test_over_the_wire import WireHost, connected, policy_of
from tests.stores import Cluster

from clarion_agent.identity import load_identity
from clarion_agent.net.applicant import Wish
from clarion_agent.net.join import join
from clarion_controller.api.answers import PlanRequest
from clarion_protocol.invite import read_token
from clarion_protocol.trust import Floor, accept_deployment
from clarion_protocol.words import HostStatus, Verb

REGION = "eu-west-1"


def ec2(moto: str) -> Any:
    """Return a client with which tests look at what moto has."""
    return boto3.client("ec2", endpoint_url=moto, region_name=REGION)


def instance_called(moto: str, name: str) -> dict[str, Any] | None:
    """Return the instance of that name that runs, if there is one."""
    filters = [{"Name": "tag:Name", "Values": [name]}, {"Name": "instance-state-name", "Values": ["running"]}]
    reservations = ec2(moto).describe_instances(Filters=filters)["Reservations"]
    return next((each for one in reservations for each in one["Instances"]), None)


def user_data_of(moto: str, number: str) -> str:
    """Return the script that an instance runs at its first boot."""
    said = ec2(moto).describe_instance_attribute(InstanceId=number, Attribute="userData")
    return base64.b64decode(said["UserData"]["Value"]).decode()


class Booting(threading.Thread):
    """One server, from its first boot on; `runs` is what it has committed."""

    def __init__(self, moto: str, name: str, cluster: Cluster, folder: Path) -> None:
        super().__init__(daemon=True)
        self._moto, self._name, self._cluster, self._folder = moto, name, cluster, folder
        self.stopped = threading.Event()
        self.trouble: BaseException | None = None
        self.runs: list[str] = []

    def run(self) -> None:
        """Boot, join, and follow orders."""
        try:
            self._live()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            self.trouble = error
            traceback.print_exc()  # whoever waits for this server in vain sees why

    def _live(self) -> None:
        number = self._switched_on()
        found = re.search(r"^token=(\S+)$", user_data_of(self._moto, number), re.MULTILINE)
        assert found
        join(read_token(found[1]), Wish(instance=f"aws:{number}"), self._folder, lambda record, root: None)
        with connected(load_identity(self._folder)) as line:
            host = WireHost(line=line, identity=load_identity(self._folder), policy=policy_of(self._cluster))
            while not self.stopped.wait(0.3):
                self._ask(host)

    def _switched_on(self) -> str:
        while not self.stopped.wait(0.1):
            if instance := instance_called(self._moto, self._name):
                return str(instance["InstanceId"])
        raise AssertionError(f"{self._name} was never switched on")

    def _ask(self, host: WireHost) -> None:
        """Take the orders that are new, as an agent would if all went well."""
        bodies = host.ask()
        for body in bodies[::2]:
            deployment = accept_deployment(body, host.stand, Floor()).deployment
            if deployment.app in self.runs:
                continue
            host.report(deployment, HostStatus.STAGED)
            while host.signal(deployment).verb is not Verb.LEASE:
                time.sleep(0.05)
            host.report(deployment, HostStatus.COMMITTED)
            self.runs.append(deployment.app)


@contextmanager
def booting(moto: str, name: str, cluster: Cluster, folder: Path) -> Iterator[Booting]:
    """Have the server of that name boot as soon as it is made."""
    server = Booting(moto, name, cluster, folder)
    server.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.join(20)


def deployed(controller: Live, app: str, hosts: list[Any], names: list[str] | None = None) -> None:
    """Deploy version 1.0.0 of an app to live hosts, and let them commit it."""
    plan = controller.client.plan(PlanRequest(app=app, environment="production", version="1.0.0", hosts=names))
    controller.client.order(plan.deployment.sealed(controller.deployer))
    for status in (HostStatus.STAGED, HostStatus.COMMITTED):
        controller.turn(*[host.says(time.time(), plan.deployment, status) for host in hosts])
        controller.turn()
