"""Compute Engine's double: instances listed, made and deleted over HTTP, held to the official document.

- A request that the document does not allow is answered with 400 and remembered in `complaints`.
- A body that the document does not allow is not sent: that is remembered, too.
- Zones without instances come as a warning, as the real one sends them; zones come in another order each time.
- `trouble` is what the next requests get instead of an answer: an `Answer`, or `HANG`; `trouble_with` the same for
  one method.
- What makes and deletes is in gce_making.py.
"""

from __future__ import annotations

import json
import random
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.clouds import gce_filter
from tests.clouds.discovery_document import Method, compute
from tests.clouds.gce_making import Making

PROJECT = "acme-production"
API = "https://www.googleapis.com/compute/v1"
HANG = "hang"


@dataclass(frozen=True)
class Answer:
    """An answer as it goes over the wire."""

    status: int
    body: bytes

    @classmethod
    def of(cls, body: Any, status: int = 200) -> Answer:
        """Return `body` as JSON."""
        return cls(status, json.dumps(body).encode())


def error(status: int, reason: str, message: str, info: str = "") -> Answer:
    """Return an error as Google spells it; `info` is its newer word for the reason."""
    said: dict[str, Any] = {"code": status, "message": message}
    said["errors"] = [{"message": message, "domain": "global", "reason": reason}]
    if info:
        said["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": info}]
    return Answer.of({"error": said}, status)


@dataclass
class FakeGce:
    """One project and its instances."""

    zones: list[str] = field(default_factory=lambda: ["europe-west1-b", "europe-west1-c", "us-east1-b"])
    instances: list[dict[str, Any]] = field(default_factory=list)
    trouble: list[Answer | str] = field(default_factory=list)
    trouble_with: dict[str, list[Answer | str]] = field(default_factory=dict)
    making: Making = field(default_factory=Making)
    token: Answer | None = None  # what POST /token gets: the double is its own token service
    extras: dict[str, Any] = field(default_factory=dict)  # what is laid over each answer
    most: int = 500  # on a page
    kept: dict[str, Answer | str] | None = None  # answers to give again: for measuring who asks, not the double
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def add(self, name: str = "", zone: str = "europe-west1-b", **more: Any) -> dict[str, Any]:
        """Add an instance; `more` are fields of its resource."""
        number = len(self.instances)
        instance = {
            "kind": "compute#instance",
            "id": str(7_000_000_000_000_000_000 + number),
            "name": name or f"web-{number}",
            "zone": f"{API}/projects/{PROJECT}/zones/{zone}",
            "status": "RUNNING",
            "creationTimestamp": "2026-11-01T00:00:00.000-07:00",
            "labels": {"role": "web"},
            "metadata": {"kind": "compute#metadata", "fingerprint": "abc="},
            "networkInterfaces": [_card(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")],
            **more,
        }
        self.instances.append(instance)
        return instance

    def fill(self, number: int) -> None:
        """Add as many instances, as large as they are in real life, and keep the answers."""
        self.kept = {}
        for each in range(number):
            self.add(zone=self.zones[each % len(self.zones)], **_all_that_an_instance_has(each))

    def answer(self, verb: str, address: str, body: bytes = b"") -> Answer | str:
        """Return what such a request gets."""
        self.asked.append(unquote(address))
        if self.trouble:
            return self.trouble.pop(0)
        if self.kept is None:
            return self._checked_answer(verb, address, body)
        if address not in self.kept:
            self.kept[address] = self._checked_answer(verb, address, body)
        return self.kept[address]

    def _checked_answer(self, verb: str, address: str, body: bytes) -> Answer | str:
        try:
            return self._answer(verb, urlsplit(address).path, urlsplit(address).query, body)
        except (LookupError, ValueError, AssertionError) as problem:
            self.complaints.append(str(problem))
            return error(400, "invalid", str(problem))

    def _answer(self, verb: str, path: str, query: str, body: bytes) -> Answer | str:
        method, in_path = compute().method_for(verb, path)
        asked = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
        for problem in method.problems_with(in_path, asked):
            raise ValueError(problem)
        if in_path["project"] != PROJECT:
            return error(404, "notFound", f"The resource 'projects/{in_path['project']}' was not found")
        if self.trouble_with.get(method.name):
            return self.trouble_with[method.name].pop(0)
        single = {name: values[0] for name, values in asked.items()}
        if method.name == "compute.instances.aggregatedList":
            return self._checked(method.response, self._aggregated(single))
        if method.name == "compute.instances.list":
            if in_path["zone"] not in self.zones:
                return error(400, "invalid", f"Invalid value for field 'zone': '{in_path['zone']}'. Unknown zone.")
            return self._checked(method.response, self._of_zone(in_path["zone"], single))
        return self._made(method, in_path | single, body)

    def _made(self, method: Method, asked: dict[str, str], body: bytes) -> Answer:
        """Return the answer to a request that makes, deletes, or looks at what was made."""
        wanted = json.loads(body) if body else None
        if method.request:
            compute().check(method.request, wanted)
        status, said = self.making.answer(method.name, asked, wanted, self.instances)
        if status != 200:
            return error(status, said["reason"], said["message"])
        return self._checked(method.response, said)

    def _checked(self, schema: str, body: dict[str, Any]) -> Answer:
        """Return the body, if it is one that Compute Engine may send."""
        body |= self.extras
        compute().check(schema, body)
        return Answer.of(body)

    def _aggregated(self, asked: dict[str, str]) -> dict[str, Any]:
        page, more = self._page(asked, self.instances)
        zones = {zone: [each for each in page if each["zone"].endswith(f"/{zone}")] for zone in _shuffled(self.zones)}
        items = {
            f"zones/{zone}": {"instances": there} if there else {"warning": _nothing_in(zone)}
            for zone, there in zones.items()
        }
        return {"kind": "compute#instanceAggregatedList", "id": "projects/x", "items": items} | more

    def _of_zone(self, zone: str, asked: dict[str, str]) -> dict[str, Any]:
        page, more = self._page(asked, [each for each in self.instances if each["zone"].endswith(f"/{zone}")])
        return {"kind": "compute#instanceList", "id": "projects/x"} | ({"items": page} if page else {}) | more

    def _page(self, asked: dict[str, str], every: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Return a page, and how to ask for the next one."""
        if asked.get("filter"):
            is_meant = gce_filter.parse(asked["filter"])
            every = [instance for instance in every if is_meant(instance)]
        size = min(int(asked.get("maxResults", 500)), self.most)
        start = int(asked.get("pageToken", "0"))
        more = {"nextPageToken": str(start + size)} if start + size < len(every) else {}
        return every[start : start + size], more


def _card(address: str) -> dict[str, Any]:
    return {"kind": "compute#networkInterface", "name": "nic0", "networkIP": address, "stackType": "IPV4_ONLY"}


def _all_that_an_instance_has(number: int) -> dict[str, Any]:
    """Return what an ordinary instance of a group has, about 4 KB."""
    here = f"{API}/projects/{PROJECT}/zones/europe-west1-b"
    disk = {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "source": f"{here}/disks/web-{number}",
        "deviceName": "persistent-disk-0",
        "index": 0,
        "boot": True,
        "autoDelete": True,
        "licenses": [f"{API}/projects/debian-cloud/global/licenses/debian-12-bookworm"],
        "interface": "SCSI",
        "guestOsFeatures": [{"type": kind} for kind in ("UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE", "GVNIC")],
        "diskSizeGb": "20",
        "architecture": "X86_64",
    }
    outside = {"kind": "compute#accessConfig", "type": "ONE_TO_ONE_NAT", "name": "External NAT"}
    outside["natIP"] = f"203.0.{number >> 8 & 255}.{number & 255}"
    made_by = f"projects/123456/regions/europe-west1/instanceGroupManagers/web-{number % 5}"
    metadata = {"startup-script": "#!/bin/sh\n" + "# install\n" * 100, "created-by": made_by}
    items = [{"key": key, "value": value} for key, value in metadata.items()]
    inside = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return {
        "machineType": f"{here}/machineTypes/e2-standard-4",
        "cpuPlatform": "Intel Broadwell",
        "canIpForward": False,
        "disks": [disk],
        "networkInterfaces": [_card(inside) | {"accessConfigs": [outside]}],
        "metadata": {"kind": "compute#metadata", "fingerprint": "abc=", "items": items},
        "labels": {"role": "web", "env": "production", "team": f"team-{number % 7}"},
        "tags": {"items": ["http-server", "https-server"], "fingerprint": "abc="},
        "scheduling": {"onHostMaintenance": "MIGRATE", "automaticRestart": True, "preemptible": False},
        "serviceAccounts": [{"email": "web@acme.iam.gserviceaccount.com", "scopes": [f"{API}/auth/cloud-platform"]}],
        "selfLink": f"{here}/instances/web-{number}",
        "shieldedInstanceConfig": {"enableSecureBoot": False, "enableVtpm": True},
    }


def _nothing_in(zone: str) -> dict[str, Any]:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope 'zones/{zone}' on this page.",
        "data": [{"key": "scope", "value": f"zones/{zone}"}],
    }


def _shuffled(zones: list[str]) -> list[str]:
    return random.sample(zones, len(zones))


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for a `FakeGce`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @cached_property
    def cloud(self) -> FakeGce:
        """Who answers."""
        server = self.server
        assert isinstance(server, _Server)
        return server.cloud

    def do_GET(self) -> None:
        """Answer a request."""
        self._answer(b"")

    def do_DELETE(self) -> None:
        """Answer a request."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer who wants a token, and who makes something."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/compute/"):
            self._answer(body)
        else:
            self._send(self.cloud.token or Answer(404, b""))

    def _answer(self, body: bytes) -> None:
        self.cloud.headers.append(dict(self.headers.items()))
        answer = self.cloud.answer(self.command, self.path, body)
        if not isinstance(answer, Answer):
            self.cloud.closing.wait(30)
            self.close_connection = True
            return
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the library's)
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Listens on loopback."""

    daemon_threads = True
    cloud: FakeGce

    def handle_error(self, request: object, client_address: object) -> None:
        """Leave it to the tests to say that a client went away."""


@contextmanager
def fake_gce(tls: ssl.SSLContext | None = None) -> Iterator[FakeGce]:
    """Run a Compute Engine with nothing in it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    scheme = "https" if tls else "http"
    if tls:  # the handshake is the handler's: one who does not finish it must not stop the others
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.cloud = cloud = FakeGce(address=f"{scheme}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cloud
    finally:
        cloud.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
