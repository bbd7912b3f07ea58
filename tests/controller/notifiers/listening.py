"""A server on loopback that answers each request with the next of `answers`, or misbehaves as told."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from clarion_controller.notice import Kind, Notice, Severity


@dataclass(frozen=True)
class Request:
    """What was asked; `headers` by their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Behaviour = Callable[[socketserver.StreamRequestHandler, "Listener"], None]


def answer(status: int, body: bytes | str = b"", *headers: str) -> Behaviour:
    """Return the behaviour of who answers just so."""
    content = body.encode() if isinstance(body, str) else body
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close", *headers])

    def behave(page: socketserver.StreamRequestHandler, _: Listener) -> None:
        page.wfile.write(f"{head}\r\n\r\n".encode() + content)

    return behave


def garbage(page: socketserver.StreamRequestHandler, _: Listener) -> None:
    """Answer with what is no HTTP."""
    page.wfile.write(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n")


def nothing(_: socketserver.StreamRequestHandler, listener: Listener) -> None:
    """Take the request and say nothing."""
    listener.closing.wait(30)


def dripping_head(page: socketserver.StreamRequestHandler, listener: Listener) -> None:
    """Send a header that never ends, a byte now and then."""
    page.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not listener.closing.wait(0.05):
        page.wfile.write(b"x")


def dripping_body(page: socketserver.StreamRequestHandler, listener: Listener) -> None:
    """Send a body that never ends, a byte now and then."""
    page.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not listener.closing.wait(0.05):
        page.wfile.write(b"x")


def endless(page: socketserver.StreamRequestHandler, listener: Listener) -> None:
    """Send 3 GB, or as much of them as is read."""
    page.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3221225472\r\n\r\n")
    for _ in range(3 * 1024):
        page.wfile.write(b"x" * 2**20)
        listener.sent += 2**20


@dataclass
class Listener:
    """Somebody who listens."""

    answers: list[Behaviour] = field(default_factory=list)  # the last one goes on being given
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    sent: int = 0  # bytes of an endless answer
    url: str = ""

    def behave(self, page: socketserver.StreamRequestHandler) -> None:
        """Answer the request that was just read."""
        behaviour = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with suppress(OSError):  # whoever asked has hung up
            behaviour(page, self)


@contextmanager
def listening(*answers: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """Yield somebody who listens on loopback."""
    listener = Listener([*answers])

    class Page(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                if tls:
                    self.request.settimeout(10)
                    self.request = tls.wrap_socket(self.request, server_side=True)
                    self.setup()
                if request := read(self):
                    listener.requests.append(request)
                    listener.behave(self)
                self.wfile.flush()
                if tls:
                    self.request.close()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = False
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Page) as server:
        listener.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listener
        finally:
            listener.closing.set()
            server.shutdown()
            thread.join()


def read(page: socketserver.StreamRequestHandler) -> Request | None:
    """Return the request that came, if one did."""
    first = page.rfile.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers = {}
    while (text := page.rfile.readline().decode("latin-1").strip()) != "":
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(first[0], first[1], headers, page.rfile.read(int(headers.get("content-length", 0))))


def a_notice(**given: Any) -> Notice:
    """Return a notice such as a failed deployment makes."""
    known: dict[str, Any] = {
        "id": "n-17",
        "kind": Kind.DEPLOYMENT_FAILED,
        "severity": Severity.ERROR,
        "incident": "deployment/production/shop",
        "environment": "production",
        "app": "shop",
        "title": "shop 1.4.2 failed in production",
        "reason": "2 hosts failed where none may: web-2 answered 500 to GET /health.",
        "since": 1_800_000_000.0,
        "at": 1_800_000_042.0,
        "affected": ("web-2", "web-3"),
        "next_command": "clarion logs 3f9c2a11",
        "cluster": "main",
    }
    return Notice(**{**known, **given})
