"""A web server on this machine that hears what a webhook is told, and answers as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from clarion_controller.notice import Notice

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Return an answer with that status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def garbage(handler: BaseHTTPRequestHandler) -> None:
    """Answer what no web server answers."""
    handler.wfile.write(b"\x00\xff" * 500)


@dataclass
class Ears:
    """What was heard: all of it, and what was accepted; `answer` may be changed at any time."""

    url: str = ""
    answer: Answer = field(default_factory=lambda: status(200))
    heard: list[Notice] = field(default_factory=list)
    accepted: list[Notice] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def hang(self, _handler: BaseHTTPRequestHandler) -> None:
        """Answer nothing."""
        self.is_over.wait(60)

    def fleet(self, name: str = "hook") -> str:
        """Return the part of fleet.toml that has this server told; its secret is in the environment."""
        return f'[[notify]]\nname = "{name}"\nwebhook = {{ url = "{self.url}", secret = "env:HOOK_SECRET" }}\n'


@contextmanager
def listening() -> Iterator[Ears]:
    """Have the server listen within a `with` block."""
    ears = Ears()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notice = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])), type=Notice)
            ears.heard.append(notice)
            answer = ears.answer
            answer(self)
            if answer not in (ears.hang, garbage) and self.accepts:
                ears.accepted.append(notice)

        def send_response(self, code: int, message: str | None = None) -> None:
            self.accepts = code == 200
            super().send_response(code, message)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ears.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield ears
    finally:
        ears.is_over.set()
        server.shutdown()
        thread.join(10)
        server.server_close()
