"""A small shop: the app that Clarion's demo and tests deploy. Standard library only.

It shows what an app has to do to be deployed without a failed request:

- `/version` says which version *runs*, so a check cannot mistake the old one for the new one;
- `/healthz` answers 503 while the flag file `<root>/shop/draining` exists, so the balancer looks away
  before the restart;
- SIGTERM stops taking requests and finishes those in flight.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socketserver
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Resolved once, at the start: `current` may point elsewhere a moment later, and a process that
# read half of its files from the old release and half from the new one would be neither.
RELEASE = Path(__file__).resolve().parent
APP = RELEASE.parent.parent  # <root>/shop, where releases/<id> lies, and `current` and `draining` beside it
VERSION = (RELEASE / "VERSION").read_text().strip()


class Shop(ThreadingHTTPServer):
    """The server: a thread for each request, and no request lost when it stops."""

    request_queue_size = 128
    daemon_threads = False  # so that server_close() waits for the requests in flight

    def server_bind(self) -> None:
        """Bind without HTTPServer's reverse DNS lookup, which can take seconds on a host without DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Complain only of what is the shop's fault: balancers hang up as soon as they have seen the status."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def stop_at_sigterm(self) -> None:
        """Let SIGTERM end `serve_forever`; shutdown() waits for that loop, so another thread calls it."""
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self.shutdown).start())

    def finish(self) -> None:
        """Answer who has connected already, then wait for every answer under way."""
        while select.select([self.socket], [], [], 0)[0]:
            self.handle_request()
        self.server_close()


class Page(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Answer the three pages that there are."""
        pages = {"/": front_page, "/version": version_page, "/healthz": health_page}
        status, text = pages.get(self.path, missing_page)()
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Shop-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the access log is the balancer's."""


def front_page() -> tuple[int, str]:
    """What customers see: the goods and their prices."""
    try:
        return 200, "".join(f"{name:10}{cents / 100:8.2f}\n" for name, cents in load_goods().items())
    except (OSError, TypeError, ValueError) as error:
        return 500, f"the goods cannot be shown: {error}\n"


def version_page() -> tuple[int, str]:
    """Which version answers."""
    return 200, f"{VERSION}\n"


def health_page() -> tuple[int, str]:
    """Whether a balancer should send requests here."""
    return (503, "draining\n") if (APP / "draining").exists() else (200, "ready\n")


def missing_page() -> tuple[int, str]:
    """Anything else."""
    return 404, "no such page\n"


def load_goods() -> dict[str, int]:
    """Return the price of each good, in cents."""
    goods: dict[str, int] = json.loads((RELEASE / "goods.json").read_text())
    return goods


def serve(address: tuple[str, int]) -> int:
    """Answer requests until SIGTERM."""
    shop = Shop(address, Page)
    shop.stop_at_sigterm()
    print(f"shop {VERSION} answers on {address[0]}:{shop.server_port}", flush=True)
    shop.serve_forever(poll_interval=0.05)
    shop.finish()
    return 0


def self_test() -> int:
    """Say whether this release is whole: what runs at build time and on each host, before anything is switched."""
    problems = [f"{name} is missing" for name in ("VERSION", "goods.json") if not (RELEASE / name).exists()]
    if not problems and not load_goods():
        problems.append("there is nothing to sell")
    print("\n".join(problems) or f"shop {VERSION} is whole")
    return len(problems)


def check(port: int) -> int:
    """Ask the running shop for its front page, and say whether this very version answered."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            running = answer.headers["X-Shop-Version"]
    except OSError as error:
        print(f"the front page of the shop on port {port}: {error}")
        return 1
    print(f"version {running} runs where {VERSION} should" if running != VERSION else f"version {running} runs")
    return int(running != VERSION)


def chosen_port() -> int:
    """Return the port: the environment's PORT, else what this host's file `<root>/shop/port` says, else 8080."""
    file = APP / "port"
    return int(os.environ.get("PORT") or (file.read_text() if file.exists() else 8080))


def main(arguments: list[str]) -> int:
    """Serve, or do what the option says."""
    parser = argparse.ArgumentParser(prog="shop.py", description="A small shop.")
    parser.add_argument("--self-test", action="store_true", help="is this release whole?")
    parser.add_argument("--check", action="store_true", help="does this very version answer?")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=chosen_port(), help="the port to listen on, or to ask")
    chosen = parser.parse_args(arguments)
    if chosen.self_test:
        return self_test()
    return check(chosen.port) if chosen.check else serve((chosen.host, chosen.port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
