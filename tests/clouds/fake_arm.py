"""A double of Azure Resource Manager: what asks Resource Graph, and what makes machines, over HTTP or TLS on loopback.

- Requests are checked strictly: address, api-version, content type, every key of the body.
- Queries are really run over `tables` (see fake_kql.py); what the caller may not read is left
  out without a word, as the real one does.
- Without an order that is unique, rows come in another order on every page.
- `failures` are answered first, one a request.
- What makes and deletes machines and network interfaces is in arm_making.py.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid5

from tests.clouds.arm_making import Making, Said
from tests.clouds.fake_kql import BadQuery, Row, Table, query

if TYPE_CHECKING:
    import ssl

PATH = "/providers/Microsoft.ResourceGraph/resources"
API_VERSION = "2021-03-01"
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
MOST = 1000
HANGS_S = 30.0


@dataclass(frozen=True)
class Failure:
    """An answer that is no list: an ARM error, or `body` just as it is."""

    status: int
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    details: tuple[str, ...] = ()

    def document(self) -> bytes:
        """Return the body, in ARM's form of errors unless another is given."""
        if self.body is not None:
            return self.body
        said: dict[str, Any] = {"code": self.code, "message": "a message with s3cret-words"}
        if self.details:
            said["details"] = [{"code": code, "message": "more s3cret-words"} for code in self.details]
        return json.dumps({"error": said}).encode()


HANG = Failure(0)
CUT = Failure(-1)


class BadRequest(Exception):
    """The body or the address is not as the documentation says."""


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    query: str
    options: dict[str, Any]
    subscriptions: list[str]
    headers: dict[str, str]


class FakeArm:
    """The double; use as a context, in which it listens at `url`."""

    def __init__(self, tls: ssl.SSLContext | None = None, page: int = MOST) -> None:
        self.tables: dict[str, list[Row]] = {"Resources": [], "ComputeResources": [], "ResourceContainers": []}
        self.readable = {SUBSCRIPTION}
        self.failures: deque[Failure] = deque()
        self.making = Making(SUBSCRIPTION)
        self.asked: list[Asked] = []
        self.page = page
        self.between_pages: Callable[[], object] | None = None
        self.spoiled: dict[str, dict[str, Any]] = {}
        self.ended = threading.Event()
        self._whole: dict[str, Table] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Port)
        self._server.arm = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeArm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def add(self, *resources: Row) -> None:
        """Put resources into the tables that they belong to."""
        for resource in resources:
            is_instance = "virtualmachinescalesets/" in resource["type"].lower()
            self.tables["ComputeResources" if is_instance else "Resources"].append(resource)

    def run(self, request: Asked) -> dict[str, Any]:
        """Return one page of an answer.

        Raises:
            BadRequest: an option, a token or the query is wrong.
        """
        offset = _offset(request)
        table = self._table(request, anew=not offset)
        top = min(request.options.get("$top", 100), self.page)
        rows = table.rows if table.is_ordered else random.sample(table.rows, len(table.rows))
        page = rows[offset : offset + top]
        is_whole = offset + len(page) == len(rows)
        answer: dict[str, Any] = {
            "totalRecords": len(rows),
            "count": len(page),
            "data": page,
            "facets": [],
            "resultTruncated": "false",
        }
        if not is_whole and set(table.columns.values()) == {"dynamic"}:
            answer["resultTruncated"] = "true"
        elif not is_whole:
            answer["$skipToken"] = _token(request.query, offset + top)
        return answer | self.spoiled.get(request.query.split()[0], {})

    def _table(self, request: Asked, *, anew: bool) -> Table:
        """Return the whole answer, found anew for each first page and after what a test does between pages."""
        if self.between_pages and not anew:
            self.between_pages()
        if anew or self.between_pages:
            try:
                self._whole[request.query] = query(request.query, self._visible(request.subscriptions))
            except BadQuery as error:
                raise BadRequest(f"InvalidQuery: {error}") from error
        return self._whole[request.query]

    def _visible(self, subscriptions: list[str]) -> dict[str, list[Row]]:
        seen = self.readable & set(subscriptions)
        tables = {name: [row for row in rows if row["subscriptionId"] in seen] for name, rows in self.tables.items()}
        tables["ResourceContainers"] += [_container(name) for name in sorted(seen)]
        return tables


class _Port(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self) -> None:
        arm: FakeArm = self.server.arm  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        said = arm.making.answer(Said(self.command, self.path, body, dict(self.headers)), arm.url)
        if said is None:
            self.close_connection = True
            return
        status, content, headers = said
        self._send(status, content if isinstance(content, bytes) else json.dumps(content).encode(), headers)

    do_PUT = do_DELETE = do_GET  # noqa: N815 (the server's spelling)

    def do_POST(self) -> None:
        arm: FakeArm = self.server.arm  # type: ignore[attr-defined]
        if urlsplit(self.path).path != PATH:
            return self.do_GET()
        try:
            asked = _read(self, self.rfile.read(int(self.headers["Content-Length"])))
            arm.asked.append(asked)
            if arm.failures:
                return self._fail(arm, arm.failures.popleft())
            if not arm.readable & set(asked.subscriptions):
                return self._send(400, _refused("NoValidSubscriptionsInQueryRequest"))
            body = json.dumps(arm.run(asked)).encode()
        except BadRequest as error:
            return self._send(400, _refused(str(error)))
        return self._send(200, body, {"x-ms-user-quota-remaining": "14", "x-ms-user-quota-resets-after": "00:00:05"})

    def _fail(self, arm: FakeArm, failure: Failure) -> None:
        if failure is HANG:
            arm.ended.wait(HANGS_S)
        if failure in (HANG, CUT):
            self.close_connection = True
            return
        self._send(failure.status, failure.document(), failure.headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def _refused(code: str) -> bytes:
    return Failure(400, "BadRequest", details=(code,)).document()


def _read(request: BaseHTTPRequestHandler, body: bytes) -> Asked:
    address = urlsplit(request.path)
    if address.path != PATH or parse_qs(address.query) != {"api-version": [API_VERSION]}:
        raise BadRequest(f"nothing at {request.path}")
    if request.headers["Content-Type"] != "application/json":
        raise BadRequest("the body is no JSON")
    read: dict[str, Any] = json.loads(body)
    _closed(read, {"subscriptions": list, "query": str, "options": dict})
    _closed(read["options"], {"resultFormat": str, "$top": int}, {"$skipToken": str, "allowPartialScopes": bool})
    if read["options"]["resultFormat"] != "objectArray" or not 1 <= read["options"]["$top"] <= MOST:
        raise BadRequest("options out of range")
    for name in read["subscriptions"]:
        if str(UUID(name)) != name:
            raise BadRequest("SubscriptionsContainInvalidGuids")
    return Asked(read["query"], read["options"], read["subscriptions"], dict(request.headers))


def _closed(found: dict[str, Any], needed: dict[str, type], allowed: dict[str, type] | None = None) -> None:
    known = needed | (allowed or {})
    if not needed.keys() <= found.keys() <= known.keys():
        raise BadRequest(f"keys {sorted(found)}")
    for name, value in found.items():
        if type(value) is not known[name]:
            raise BadRequest(f"{name} is a {type(value).__name__}")


def _token(text: str, offset: int) -> str:
    return base64.b64encode(json.dumps([text, offset]).encode()).decode()


def _offset(request: Asked) -> int:
    """Return where the page begins; a token goes with the query that it was given for."""
    token = request.options.get("$skipToken")
    if token is None:
        return 0
    text, offset = json.loads(base64.b64decode(token))
    if text != request.query:
        raise BadRequest("the $skipToken is of another query")
    return int(offset)


def _container(subscription: str) -> Row:
    return {
        "id": f"/subscriptions/{subscription}",
        "name": "Production",
        "type": "microsoft.resources/subscriptions",
        "subscriptionId": subscription,
    }


def vm_id(name: str) -> str:
    """Return the vmId of the machine with this name."""
    return str(uuid5(UUID(SUBSCRIPTION), name))


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as a test describes it."""

    name: str
    tags: dict[str, str] | None = None
    group: str = "prod"
    location: str = "westeurope"
    zone: str = ""
    scale_set: str = ""
    state: str = "running"
    addresses: tuple[str, ...] = ("10.0.0.4",)
    subscription: str = SUBSCRIPTION

    def resources(self) -> list[Row]:
        """Return it as an ordinary machine (also one of a flexible scale set), with its network interfaces."""
        return [self._row("virtualMachines", self.name), *(self._nic(ip) for ip in self.addresses)]

    def instance(self) -> Row:
        """Return it as an instance of a uniform scale set."""
        row = self._row(f"virtualMachineScaleSets/{self.scale_set}/virtualMachines", self.name)
        properties = row["properties"] | {"osProfile": {"computerName": self.name.replace("_", "00000")}}
        properties.pop("virtualMachineScaleSet", None)
        return row | {"properties": properties, "type": "microsoft.compute/virtualmachinescalesets/virtualmachines"}

    def _row(self, kind: str, name: str) -> Row:
        # Ids and vmIds keep whatever case their creator wrote.
        place = f"/subscriptions/{self.subscription}/resourceGroups/{self.group.upper()}/providers/Microsoft.Compute"
        properties: dict[str, Any] = {
            "vmId": vm_id(self.name).upper(),
            "extended": {"instanceView": {"powerState": {"code": f"PowerState/{self.state}"}}},
        }
        if self.scale_set:
            properties["virtualMachineScaleSet"] = {"id": f"{place}/virtualMachineScaleSets/{self.scale_set}"}
        return {
            "id": f"{place}/{kind}/{name}",
            "name": name,
            "type": "microsoft.compute/virtualmachines",
            "location": self.location,
            "resourceGroup": self.group,
            "subscriptionId": self.subscription,
            "zones": [self.zone] if self.zone else None,
            "tags": self.tags,
            "properties": properties,
        }

    def _nic(self, address: str) -> Row:
        row = self._row("x", f"nic-{address}")
        machine = self._row("virtualMachines", self.name)["id"].replace("resourceGroups", "resourcegroups")
        ip = {"name": "ipconfig1", "properties": {"privateIPAddress": address, "primary": True}}
        return row | {
            "type": "microsoft.network/networkinterfaces",
            "properties": {"virtualMachine": {"id": machine}, "ipConfigurations": [ip]},
        }


def fleet_of(count: int) -> list[Row]:
    """Return machines with their network interfaces, as many as that."""
    machines = [
        Machine(
            name=f"web-{number:05}",
            tags={"role": "web", "owner": "platform", "cost-centre": "4711"},
            zone=str(number % 3 + 1),
            addresses=(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",),
        )
        for number in range(count)
    ]
    return [row for machine in machines for row in machine.resources()]
