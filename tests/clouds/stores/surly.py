"""Servers that a store should survive: one that answers whatever a test says, and one that hangs up in the middle."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server says; `length` may promise more than comes."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@contextmanager
def answering(answer: Callable[[str, str], Answer]) -> Iterator[str]:
    """Answer each request as `answer(verb, path)` says; yield the address."""

    class Once(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = answer(self.command, self.path)
            self.send_response(said.status)
            length = len(said.body) if said.length is None else said.length
            for name, value in {"Content-Length": str(length), "Connection": "close", **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (as http.server looks them up)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Once)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up first is the test's business
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def cutting(url: str, after: int) -> Iterator[str]:
    """Pass every connection on to `url`, and cut it when it has brought `after` bytes; yield the address."""
    upstream = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    opened: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                opened.append(client)
                threads.append(threading.Thread(target=relay, args=(client,)))
                threads[-1].start()

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection((str(upstream.hostname), upstream.port or 80), timeout=20) as server:
            client.settimeout(20)
            back = threading.Thread(target=pump, args=(server, client, 1 << 40))
            back.start()
            pump(client, server, after)
            back.join(20)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for each in (listener, *opened):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(25)


def pump(source: socket.socket, sink: socket.socket, limit: int) -> None:
    """Carry bytes until there are no more or `limit` is reached, then end both."""
    with suppress(OSError):
        while limit > 0 and (data := source.recv(min(limit, 65536))):
            sink.sendall(data)
            limit -= len(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
