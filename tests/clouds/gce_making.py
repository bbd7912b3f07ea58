"""The part of Compute Engine's double that makes and deletes instances, by operations that take a while.

- A request with the id of one before gets that one's operation: nothing is made twice.
- An operation is done after `polls` looks at it; `failing` is what the next one to make something ends with instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Said = tuple[int, Json]


@dataclass
class Operation:
    """One operation: what it does when it is done."""

    name: str
    kind: str
    target: Json
    left: int
    error: Json | None = None


@dataclass
class Making:
    """What is being made and deleted."""

    polls: int = 1
    failing: list[tuple[str, str]] = field(default_factory=list)  # code, message
    comes_up: str = "RUNNING"
    serial: str = "[    0.000000] Linux version 6.1\nclarion: joins\n"
    requests: dict[str, Operation] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)

    def answer(self, method: str, asked: dict[str, str], body: Json | None, instances: list[Json]) -> Said:
        """Return the status and the body of an answer; of an error, its reason and message.

        Raises:
            LookupError: this double has no such method.
        """
        match method:
            case "compute.instances.insert":
                return self._insert(asked, body or {}, instances)
            case "compute.instances.delete":
                return self._delete(asked, instances)
            case "compute.instances.get":
                found = _found(asked, instances)
                return (200, dict(found)) if found else _unknown(asked)
            case "compute.instances.getSerialPortOutput":
                return self._serial(asked, instances)
            case "compute.zoneOperations.get":
                return 200, self._look(asked, instances)
            case "compute.disks.get":
                source = "https://www.googleapis.com/compute/v1/projects/debian-cloud/global/images/debian-12-v1"
                return 200, {"kind": "compute#disk", "name": asked["disk"], "sourceImage": source}
        raise LookupError(f"this double has no {method}")

    def _insert(self, asked: dict[str, str], body: Json, instances: list[Json]) -> Said:
        if asked.get("requestId") in self.requests:
            return 200, self._shown(self.requests[asked["requestId"]])
        if any(each["name"] == body["name"] for each in instances):
            message = f"The resource 'projects/p/zones/z/instances/{body['name']}' already exists"
            return 409, {"reason": "alreadyExists", "message": message}
        made = _made(asked, body, len(self.operations))
        instances.append(made)
        operation = self._begin("insert", made)
        if self.failing:
            code, message = self.failing.pop(0)
            operation.error = {"errors": [{"code": code, "message": message}]}
        self.requests[asked.get("requestId", operation.name)] = operation
        return 200, self._shown(operation)

    def _delete(self, asked: dict[str, str], instances: list[Json]) -> Said:
        found = _found(asked, instances)
        return (200, self._shown(self._begin("delete", found))) if found else _unknown(asked)

    def _serial(self, asked: dict[str, str], instances: list[Json]) -> Said:
        if not _found(asked, instances):
            return _unknown(asked)
        return 200, {"kind": "compute#serialPortOutput", "contents": self.serial, "start": "0", "next": "99"}

    def _begin(self, kind: str, target: Json) -> Operation:
        operation = Operation(f"operation-{len(self.operations)}", kind, target, self.polls)
        self.operations[operation.name] = operation
        return operation

    def _look(self, asked: dict[str, str], instances: list[Json]) -> Json:
        operation = self.operations[asked["operation"]]
        operation.left -= 1
        if operation.left <= 0:
            self._end(operation, instances)
        return self._shown(operation)

    def _end(self, operation: Operation, instances: list[Json]) -> None:
        if operation.kind == "delete" or operation.error:
            instances[:] = [each for each in instances if each is not operation.target]
        else:
            operation.target["status"] = self.comes_up

    def _shown(self, operation: Operation) -> Json:
        is_done = operation.left <= 0
        shown = {
            "kind": "compute#operation",
            "name": operation.name,
            "operationType": operation.kind,
            "status": "DONE" if is_done else "RUNNING",
            "targetId": operation.target["id"],
        }
        return shown | ({"error": operation.error} if is_done and operation.error else {})


def _found(asked: dict[str, str], instances: list[Json]) -> Json | None:
    """Return an instance by its name or its number."""
    wanted = asked["instance"]
    here = (each for each in instances if each["zone"].endswith(f"/{asked['zone']}"))
    return next((each for each in here if wanted in (each["name"], each["id"])), None)


def _unknown(asked: dict[str, str]) -> Said:
    return 404, {"reason": "notFound", "message": f"The resource '{asked['instance']}' was not found"}


def _made(asked: dict[str, str], body: Json, number: int) -> Json:
    """Return the instance as Compute Engine shows one that was asked for like this."""
    api = "https://www.googleapis.com/compute/v1"
    cards = [{**card, "networkIP": f"10.132.0.{number + 2}"} for card in body["networkInterfaces"]]
    disks = [{key: value for key, value in disk.items() if key != "initializeParams"} for disk in body["disks"]]
    source = f"{api}/projects/{asked['project']}/zones/{asked['zone']}/disks/{body['name']}"
    return body | {
        "kind": "compute#instance",
        "id": str(8_000_000_000_000_000_000 + number),
        "zone": f"{api}/projects/{asked['project']}/zones/{asked['zone']}",
        "status": "PROVISIONING",
        "networkInterfaces": cards,
        "disks": [
            disk | {"source": source, "initializeParams": body["disks"][0]["initializeParams"]} for disk in disks
        ],
    }
