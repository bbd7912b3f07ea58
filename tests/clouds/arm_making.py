"""The part of ARM's double that makes and deletes machines and network interfaces, by operations that take a while.

- Bodies are checked strictly: every key, api-version and the order in which things need each other.
- An operation is over after `polls` looks at it. `failing` is what the next one on a machine ends with instead.
- `refusing` maps "PUT virtualMachines" and so on to answers that come instead, one a request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid5

Json = dict[str, Any]
Answer = tuple[int, "Json | bytes", dict[str, str]]
VERSIONS = {"virtualMachines": "2024-07-01", "networkInterfaces": "2024-05-01", "operations": "2024-07-01"}
MACHINE: Json = {
    "location": str,
    "tags": dict,
    "properties": {
        "hardwareProfile": {"vmSize": str},
        "storageProfile": {"imageReference": dict, "osDisk": {"createOption": str, "deleteOption": str}},
        "osProfile": {"computerName": str, "adminUsername": str, "customData": str, "linuxConfiguration": dict},
        "networkProfile": {"networkInterfaces": list},
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": bool}},
    },
}
CARD: Json = {"location": str, "tags": dict, "properties": {"ipConfigurations": list}}


@dataclass(frozen=True)
class Said:
    """A request as it came."""

    verb: str
    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass
class Operation:
    """What is under way."""

    left: int
    error: Json | None = None


@dataclass
class Making:
    """The machines and interfaces of one subscription, by id."""

    subscription: str
    polls: int = 1
    resources: dict[str, Json] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    failing: list[Json] = field(default_factory=list)
    refusing: dict[str, list[Answer | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    serial: bytes = b"clarion: joins\n"
    elsewhere: str = ""

    def of(self, kind: str) -> list[Json]:
        """Return the resources of one kind."""
        return [each for id_, each in self.resources.items() if id_.split("/")[-2] == kind]

    def answer(self, said: Said, url: str) -> Answer | None:
        """Return the answer to a request; None hangs up."""
        path, query = urlsplit(said.path).path, parse_qs(urlsplit(said.path).query)
        if path == "/serial":
            return 200, self.serial, {}
        kind = next((name for name in VERSIONS if f"/{name}" in path), "")
        call = f"{said.verb} {kind}"
        self.asked.append(call)
        if not kind or query.get("api-version") != [VERSIONS[kind]]:
            return self._complain(f"nothing at {said.verb} {said.path}")
        if self.refusing.get(call):
            return self.refusing[call].pop(0)
        return self._answer(said, path, kind, url)

    def _answer(self, said: Said, path: str, kind: str, url: str) -> Answer:
        if kind == "operations":
            return self._look(int(path.rpartition("/")[2]), url)
        if path.endswith("/retrieveBootDiagnosticsData"):
            return 200, {"serialConsoleLogBlobUri": f"{url}/serial?sig=s3cret"}, {}
        if path.endswith(f"/{kind}"):
            group = path.partition("/providers")[0]
            return 200, {"value": [each for each in self.of(kind) if each["id"].startswith(group)]}, {}
        if said.verb == "PUT":
            return self._put(said, path, kind, url)
        found = self.resources.get(path)
        if found is None:
            return refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        return self._delete(path, url) if said.verb == "DELETE" else (200, found, {})

    def _put(self, said: Said, path: str, kind: str, url: str) -> Answer:
        body: Json = json.loads(said.body)
        if problem := _problem(body, MACHINE if kind == "virtualMachines" else CARD):
            return self._complain(problem)
        if path in self.resources and said.headers.get("If-None-Match") == "*":
            return refusal(412, "PreconditionFailed", "It exists.")
        made = body | {"id": path, "name": path.rpartition("/")[2]}
        error = self.failing.pop(0) if kind == "virtualMachines" and self.failing else None
        if kind == "virtualMachines":
            made["properties"]["vmId"] = str(uuid5(UUID(self.subscription), path)).upper()
            for card in made["properties"]["networkProfile"]["networkInterfaces"]:
                self.resources[card["id"]]["properties"]["virtualMachine"] = {"id": path}
        else:
            made["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = "10.1.0.4"
        self.resources[path] = made
        return 201, made, self._begun(url, error)

    def _delete(self, path: str, url: str) -> Answer:
        gone = self.resources.pop(path)
        if "networkProfile" in gone["properties"]:
            for card in gone["properties"]["networkProfile"]["networkInterfaces"]:
                if card["properties"]["deleteOption"] == "Delete":
                    self.resources.pop(card["id"], None)
        elif gone["properties"].get("virtualMachine"):
            self.resources[path] = gone
            return refusal(400, "NicInUse", "It is used by a machine.")
        return 202, {}, self._begun(url)

    def _begun(self, url: str, error: Json | None = None) -> dict[str, str]:
        self.operations.append(Operation(self.polls, error))
        path = f"/subscriptions/{self.subscription}/providers/Microsoft.Compute/locations/x/operations"
        address = f"{self.elsewhere or url}{path}/{len(self.operations) - 1}?api-version={VERSIONS['operations']}"
        return {"Azure-AsyncOperation": address, "Retry-After": "0"}

    def _look(self, number: int, url: str) -> Answer:
        operation = self.operations[number]
        operation.left -= 1
        if operation.left > 0:
            return 200, {"status": "InProgress"}, {"Retry-After": "0"}
        if operation.error:
            return 200, {"status": "Failed", "error": operation.error}, {}
        return 200, {"status": "Succeeded"}, {}

    def _complain(self, problem: str) -> Answer:
        self.complaints.append(problem)
        return refusal(400, "InvalidRequestFormat", problem)


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Answer:
    """Return an error in ARM's form."""
    return status, {"error": {"code": code, "message": message}}, headers


def _problem(body: Any, shape: Any, where: str = "body") -> str:
    """Return what is wrong with a body; "" if nothing is."""
    if isinstance(shape, type):
        return "" if type(body) is shape else f"{where} is a {type(body).__name__}"
    if body.keys() != shape.keys():
        return f"{where} has the keys {sorted(body)}"
    problems = (_problem(body[key], each, f"{where}.{key}") for key, each in shape.items())
    return next(filter(None, problems), "")
