"""Package stores for tests: a real cluster behind a real uvicorn, and a server that does whatever a test says."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from clarion_agent.net.patience import Patience
from clarion_controller.build import BuiltPackage, build
from clarion_controller.initialise import initialise
from clarion_controller.package_store.app import PackageStore, listen
from clarion_controller.publish import Published, publish
from clarion_controller.publishing.tuf_repository import TufRepository

HASTE = Patience(
    connect=1, silence=0.3, window=0.5, rate=32 * 1024, deadline=10, attempts=3, pause=0.01, longest_pause=0.02
)


@dataclass(frozen=True)
class Cluster:
    """A cluster on disk, and a way to put packages into it."""

    folder: Path

    @property
    def home(self) -> Path:
        """The controller's home."""
        return self.folder / "home"

    @property
    def repository(self) -> TufRepository:
        """Its TUF repository."""
        return TufRepository.at(self.home)

    @property
    def root(self) -> bytes:
        """The first root: what a host that joined early has pinned."""
        return self.repository.root_bytes(1)

    def build(self, version: str, app: str = "shop", content: bytes = b"shop") -> BuiltPackage:
        """Build a package of one file."""
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        (source / "clarion.toml").write_text(f'[app]\nname = "{app}"\nunits = ["{app}.service"]\n')
        (source / "content").write_bytes(content)
        return build(source, self.folder / "out", version, allow_dirty=True)

    def publish(self, version: str, app: str = "shop", content: bytes = b"shop") -> Published:
        """Build a package of one file, and publish it."""
        built = self.build(version, app, content)
        return publish(self.home, built.package, built.manifest)


def cluster_in(folder: Path, *environments: str) -> Cluster:
    """Make a cluster below `folder`."""
    initialise(folder / "home", "acme", "localhost", environments or ("production",))
    return Cluster(folder)


@contextmanager
def serving(store: Path, app: Any = None) -> Iterator[str]:
    """Serve the folder `store` (or another app) and yield its address."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app or PackageStore(store), lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


Behaviour = Callable[[socket.socket, bytes], None]


@dataclass
class Puppet:
    """A server whose nth connection is answered by the nth behaviour; the last one answers all that follow."""

    behaviours: list[Behaviour]
    requests: list[bytes] = field(default_factory=list)
    url: str = ""
    is_over: threading.Event = field(default_factory=threading.Event)

    tls: ssl.SSLContext | None = None

    def answer(self, plain: socket.socket) -> None:
        """Read one request and answer it."""
        plain.settimeout(10)
        with plain, suppress(OSError), self._secured(plain) as connection:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (more := connection.recv(65536)):
                    return
                request += more
            self.requests.append(request)
            self.behaviours[min(len(self.requests), len(self.behaviours)) - 1](connection, request)

    def _secured(self, plain: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(plain, server_side=True) if self.tls else plain


@contextmanager
def puppet(*behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Puppet]:
    """Run a server that behaves like that."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Puppet(list(behaviours), url=f"http://127.0.0.1:{listener.getsockname()[1]}", tls=tls)
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=server.answer, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        server.is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(15)


def say(raw: bytes) -> Behaviour:
    """Answer with these bytes, then close."""
    return lambda connection, _: connection.sendall(raw)


def http(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer properly with a status, headers (`content_type="..."`) and a body."""
    lines = [f"HTTP/1.1 {status}"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "content_length" not in headers and "transfer_encoding" not in headers:
        lines.append(f"content-length: {len(body)}")
    return say("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)


def span_in(request: bytes) -> tuple[int, int]:
    """Return (first, last) of the range that a request asks for."""
    match = re.search(rb"(?i)\r\nrange: bytes=(\d+)-(\d+)\r\n", request)
    assert match, request
    return int(match[1]), int(match[2])


def honest(content: bytes, *, cut: int | None = None) -> Behaviour:
    """Answer range requests for `content`; with `cut`, break the connection off after so many bytes of body."""

    def behave(connection: socket.socket, request: bytes) -> None:
        first, last = span_in(request)
        head = (
            f"HTTP/1.1 206 Partial Content\r\ncontent-length: {last - first + 1}\r\n"
            f"content-range: bytes {first}-{last}/{len(content)}\r\nconnection: close\r\n\r\n"
        )
        body = content[first : last + 1]
        connection.sendall(head.encode() + body[:cut])

    return behave
