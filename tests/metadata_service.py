"""The metadata service of a cloud, as far as a server asks it who it is; also a program for a server of the lab.

``python3 metadata_service.py aws i-0123456789abcdef0`` takes the services' one address, on the loopback of
the network namespace that it runs in, and answers there on port 80 until it is stopped.

What the three demand is taken from their documentation: AWS a token that a PUT brought, Google Cloud and
Azure a header each; a request that came through a proxy gets nothing from any of them.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

ADDRESS = "169.254.169.254"
TOKEN = "AQAEAGpZ3cJ-HEaMRxQbh_JnQx2mZ3V7kbHQzXbV9sVXaQ0QYw=="


class MetadataService(ThreadingHTTPServer):
    """Answers for one server of one cloud; `asked` holds each method and path."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, cloud: str, instance: str, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, _KINDS[cloud])
        self.instance = instance
        self.asked: list[str] = []


class _Kind(BaseHTTPRequestHandler):
    """What the three have in common."""

    server: MetadataService
    protocol_version = "HTTP/1.1"
    flavor: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        self._do()

    def do_PUT(self) -> None:
        self._do()

    def _do(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        status, text = (403, "") if "X-Forwarded-For" in self.headers else self.answer()
        body = text.encode()
        self.send_response(status)
        for name, value in {**self.flavor, "Content-Type": "text/plain", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> tuple[int, str]:
        """Return status and body."""
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Aws(_Kind):
    def answer(self) -> tuple[int, str]:
        if (self.command, self.path) == ("PUT", "/latest/api/token"):
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            return (200, TOKEN) if ttl.isdigit() and 1 <= int(ttl) <= 21_600 else (400, "")
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, ""
        return (200, self.server.instance) if self.path == "/latest/meta-data/instance-id" else (404, "")


class _Gcp(_Kind):
    flavor: ClassVar[dict[str, str]] = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}

    def answer(self) -> tuple[int, str]:
        if self.headers.get("Metadata-Flavor") != "Google":
            return 403, ""
        return (200, self.server.instance) if self.path == "/computeMetadata/v1/instance/id" else (404, "")


class _Azure(_Kind):
    def answer(self) -> tuple[int, str]:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if self.headers.get("Metadata", "").lower() != "true" or "api-version" not in query:
            return 400, '{"error": "Bad request"}'
        is_asked = url.path == "/metadata/instance/compute/vmId" and query.get("format") == ["text"]
        return (200, self.server.instance) if is_asked else (404, "")


_KINDS = {"aws": _Aws, "gcp": _Gcp, "azure": _Azure}


@contextmanager
def metadata_service(cloud: str, instance: str) -> Iterator[MetadataService]:
    """Run one on any port of the loopback; `server_address` says where."""
    service = MetadataService(cloud, instance)
    thread = threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


def main() -> None:
    """Answer at the real address of the network namespace that this runs in."""
    cloud, instance = sys.argv[1:]
    subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
    MetadataService(cloud, instance, (ADDRESS, 80)).serve_forever()


if __name__ == "__main__":
    main()
