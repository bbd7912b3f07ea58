"""Compute Engine as it is spoken to when servers are made: each question has an end, each error is ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from clarion_controller.discover.gcp import access, load_sdk
from clarion_controller.discover.gcp_errors import foreseen
from clarion_controller.fleet_toml.roles import GcpServer
from clarion_controller.provisioners.gcp_said import explained_for, may_pass, said_of
from clarion_protocol.errors import ClarionError, CloudUnavailable, ProvisionFailed

SCOPE = "https://www.googleapis.com/auth/compute"


@dataclass(frozen=True)
class Patience:
    """How long Google is waited for, in seconds.

    `run` and `end` are for operations, `answer` for one answer, `again` for asking again, `show` for what has begun.
    """

    run: float = 300
    end: float = 300
    answer: float = 30
    again: float = 30
    show: float = 20
    pause: float = 2


@dataclass(frozen=True)
class Compute:
    """Compute Engine in the project and zone of `server`."""

    server: GcpServer
    sdk: Any
    instances: Any
    operations: Any
    patience: Patience

    @classmethod
    def open(cls, server: GcpServer, patience: Patience) -> Compute:
        """Return Compute Engine as the role's endpoint, or the SDK's own credentials, reach it.

        Raises:
            BadConfig: the SDK is not installed.
            CloudRefused: there are no credentials.
        """
        sdk = load_sdk()
        with _explained(server, ""):
            reached = access(server.endpoint, SCOPE)
            return cls(server, sdk, sdk.InstancesClient(**reached), sdk.ZoneOperationsClient(**reached), patience)

    def insert(self, resource: Any, attempt: str) -> None:
        """Make an instance and return when it is made; the same attempt never makes two.

        Raises:
            ProvisionFailed: the operation has failed.
            CloudUnavailable: it takes too long, or there is no such server free.
        """
        request = self.sdk.InsertInstanceRequest(
            **self._place, instance_resource=resource, request_id=str(UUID(attempt))
        )
        with self._asking("compute.instances.create"):
            begun = self.instances.insert_unary(request, **self._limits)
        self._finish(begun, self.patience.run)

    def delete(self, number: str) -> None:
        """Delete an instance and return when it is gone; nothing happens if it is gone already."""
        with self._asking("compute.instances.delete"):
            begun = self._unless_gone(
                lambda: self.instances.delete_unary(
                    self.sdk.DeleteInstanceRequest(**self._place, instance=number), **self._limits
                )
            )
        if begun is not None:
            self._finish(begun, self.patience.end)

    def instance(self, name: str) -> Any:
        """Return an instance by name or number; None if there is none."""
        with self._asking("compute.instances.get"):
            request = self.sdk.GetInstanceRequest(**self._place, instance=name)
            return self._unless_gone(lambda: self.instances.get(request, **self._limits))

    def labelled(self, key: str, value: str) -> list[Any]:
        """Return the instances of the zone with this label."""
        request = self.sdk.ListInstancesRequest(**self._place, filter=f'labels.{key} = "{value}"')
        with self._asking("compute.instances.list"):
            return list(self.instances.list(request, **self._limits))

    def boot_image(self, instance: Any) -> str:
        """Return the image of which the instance's boot disk was made; "" if it was made of none."""
        disk = next(disk.source.rpartition("/")[2] for disk in instance.disks if disk.boot)
        client = self.sdk.DisksClient(**access(self.server.endpoint, SCOPE))
        with self._asking("compute.disks.get"):
            return str(client.get(self.sdk.GetDiskRequest(**self._place, disk=disk), **self._limits).source_image)

    def serial(self, number: str) -> str:
        """Return what an instance wrote to its first serial port."""
        request = self.sdk.GetSerialPortOutputInstanceRequest(**self._place, instance=number, port=1)
        with self._asking("compute.instances.getSerialPortOutput"):
            return str(self.instances.get_serial_port_output(request, **self._limits).contents)

    def running(self, name: str) -> Any:
        """Return the instance of that name once it runs.

        Raises:
            ProvisionFailed: it has ended instead.
            CloudUnavailable: it takes too long.
        """
        until = time.monotonic() + self.patience.run
        while True:
            found = self.instance(name)
            status = found.status if found else "not to be seen"
            if status == "RUNNING":
                return found
            if found and status not in ("PROVISIONING", "STAGING"):
                raise ProvisionFailed(f"the instance {name} is {status} instead of running", hint=self._see(name))
            if time.monotonic() > until:
                raise CloudUnavailable(f"the instance {name} is {status}, not yet running", hint=self._see(name))
            time.sleep(self.patience.pause)

    def _finish(self, operation: Any, seconds: float) -> None:
        """Wait until an operation is done.

        Raises:
            ClarionError: as Google says why it has failed; CloudUnavailable if it takes longer.
        """
        until = time.monotonic() + seconds
        while operation.status != self.sdk.Operation.Status.DONE:
            if time.monotonic() > until:
                hint = f"See 'gcloud compute operations describe {operation.name} --zone {self.server.zone}'."
                raise CloudUnavailable(f"Google has not finished after {seconds:.0f} s", hint=hint)
            time.sleep(self.patience.pause)
            request = self.sdk.GetZoneOperationRequest(**self._place, operation=operation.name)
            with self._asking("compute.zoneOperations.get"):
                operation = self.operations.get(request, **self._limits)
        for error in operation.error.errors:
            raise said_of(error.code, error.message, self.server)

    @property
    def _place(self) -> dict[str, str]:
        return {"project": self.server.project, "zone": self.server.zone}

    @property
    def _limits(self) -> dict[str, Any]:
        """Return what makes the SDK try again, and give up."""
        from google.api_core.retry import Retry  # noqa: PLC0415

        again = self.patience.again
        retry = Retry(predicate=may_pass, initial=0.5, multiplier=2, maximum=8, timeout=again)
        return {"retry": retry, "timeout": self.patience.answer}

    def _asking(self, permission: str) -> Any:
        return _explained(self.server, permission)

    def _unless_gone(self, ask: Any) -> Any:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        try:
            return ask()
        except NotFound:
            return None

    def _see(self, name: str) -> str:
        return f"See 'gcloud compute instances describe {name} --zone {self.server.zone}'."


@contextmanager
def _explained(server: GcpServer, permission: str) -> Iterator[None]:
    try:
        yield
    except ClarionError:
        raise
    except foreseen() as error:
        raise explained_for(error, server, permission) from error
