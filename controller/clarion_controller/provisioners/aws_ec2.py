"""EC2 as it is spoken to when servers are made: each question waits for so long at most, each error is ours."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clarion_controller.discover.aws_session import open_session
from clarion_controller.fleet_toml.roles import AwsServer
from clarion_controller.provisioners.aws_said import code_of, explained_for, is_known, said_of
from clarion_protocol.errors import ClarionError, CloudUnavailable, ProvisionFailed

READ_S = 30  # run_instances can take its time
LIVE = ("pending", "running", "stopping", "stopped")
_UNKNOWN = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
Instance = Mapping[str, Any]


@dataclass(frozen=True)
class Patience:
    """How long EC2 is waited for, in seconds: to run a server, to end it, to show what it has made; between looks."""

    run: float = 300
    end: float = 300
    show: float = 20
    pause: float = 2


@dataclass(frozen=True)
class Ec2:
    """EC2 in the region of `server`."""

    server: AwsServer
    client: Any
    patience: Patience

    @classmethod
    def open(cls, server: AwsServer, patience: Patience) -> Ec2:
        """Return EC2 as the role's profile and endpoint reach it.

        Raises:
            BadConfig: boto3 is not installed, or there is no such profile.
        """
        return cls(server, open_session(server.profile, server.endpoint).client(server.region, READ_S), patience)

    def run(self, request: Mapping[str, Any]) -> str:
        """Ask for one instance and return its id."""
        with self._explained("ec2:RunInstances"):
            return str(self.client.run_instances(**request)["Instances"][0]["InstanceId"])

    def instance(self, number: str) -> Instance:
        """Return an instance as EC2 sees it; nothing if it does not, or not yet."""
        with self._explained("ec2:DescribeInstances"):
            try:
                answer = self.client.describe_instances(InstanceIds=[number])
            except Exception as error:
                if code_of(error) in _UNKNOWN:
                    return {}
                raise
            return next((each for one in answer["Reservations"] for each in one["Instances"]), {})

    def tagged(self, key: str, value: str) -> Iterator[Instance]:
        """Return the instances with this tag that have not ended."""
        filters = {f"tag:{key}": [value], "instance-state-name": list(LIVE)}
        with self._explained("ec2:DescribeInstances"):
            listing = self.client.get_paginator("describe_instances")
            for page in listing.paginate(Filters=[{"Name": name, "Values": each} for name, each in filters.items()]):
                for reservation in page["Reservations"]:
                    yield from reservation["Instances"]

    def appeared(self, key: str, value: str, token: str) -> list[str]:
        """Return the ids of instances with this tag and token, waited for while EC2 may not show them yet."""
        until = time.monotonic() + self.patience.show
        while not (found := list(self._made_with(token, key, value))) and time.monotonic() < until:
            time.sleep(self.patience.pause)
        return found

    def _made_with(self, token: str, key: str, value: str) -> Iterator[str]:
        """Yield the ids of the instances with this tag that were made with this token, which no tag can feign."""
        for each in self.tagged(key, value):
            if token_of(each) == token:
                yield each["InstanceId"]

    def wait(self, number: str, wanted: str, seconds: float) -> Instance:
        """Return the instance once it is in the state that is wanted.

        Raises:
            ProvisionFailed: it has ended instead.
            CloudUnavailable: it takes longer than `seconds`.
        """
        until = time.monotonic() + seconds
        while True:
            instance = self.instance(number)
            state = state_of(instance)
            if state == wanted or (wanted == "terminated" and not instance):
                return instance
            if wanted == "running" and state not in ("", "pending"):
                raise self._ended(number, instance)
            if time.monotonic() > until:
                raise self._late(number, wanted, state)
            time.sleep(self.patience.pause)

    def terminate(self, numbers: Collection[str]) -> None:
        """End instances, and wait until they have ended; those that are gone are no trouble.

        Raises:
            CloudUnavailable: one of them does not end.
        """
        for number in numbers:
            self._end(number)
        for number in numbers:
            self.wait(number, "terminated", self.patience.end)

    def console(self, number: str) -> str:
        """Return what the instance has printed, as far as EC2 has it."""
        with self._explained("ec2:GetConsoleOutput"):
            return str(self.client.get_console_output(InstanceId=number).get("Output", ""))

    def _end(self, number: str) -> None:
        """End an instance; what was made a moment ago may not be known where it is ended yet."""
        until = time.monotonic() + self.patience.show
        while not self._is_ending(number) and time.monotonic() < until:
            time.sleep(self.patience.pause)

    def _is_ending(self, number: str) -> bool:
        """End an instance and return whether EC2 knew it."""
        with self._explained("ec2:TerminateInstances"):
            try:
                self.client.terminate_instances(InstanceIds=[number])
            except Exception as error:
                if code_of(error) in _UNKNOWN:
                    return False
                raise
        return True

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            yield
        # The last four are how boto3 stumbles over an answer that is XML, but not EC2's.
        except (BotoCoreError, ClientError, ResponseParserError, AttributeError, LookupError, TypeError) as error:
            raise explained_for(error, self.server, action) from error

    def _ended(self, number: str, instance: Instance) -> ClarionError:
        reason = instance.get("StateReason", {})
        code, message = str(reason.get("Code", "")), str(reason.get("Message", ""))
        if is_known(code):
            return said_of(code, message, self.server)
        return ProvisionFailed(
            f"the EC2 instance {number} is {state_of(instance)} instead of running: {code} {message}".rstrip(": "),
            hint="Client.InternalError is often a KMS key that may not be used; correct the role's image or profile.",
        )

    def _late(self, number: str, wanted: str, state: str) -> ClarionError:
        return CloudUnavailable(
            f"the EC2 instance {number} is {state or 'not to be seen'}, not yet {wanted}",
            hint=f"See 'aws ec2 describe-instances --instance-ids {number} --region {self.server.region}'.",
        )


def state_of(instance: Instance) -> str:
    """Return the state of an instance; "" if there is none."""
    return str(instance.get("State", {}).get("Name", ""))


def tags_of(instance: Instance) -> dict[str, str]:
    """Return the tags of an instance."""
    return {tag["Key"]: tag.get("Value", "") for tag in instance.get("Tags", ())}


def token_of(instance: Instance) -> str:
    """Return the client token with which an instance was made, as it says for as long as it lives."""
    return str(instance.get("ClientToken", ""))
