"""The shipped relay in a real nginx of this user's own, on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port

SHIPPED = Path(__file__).resolve().parents[2] / "packaging" / "nginx" / "clarion-relay.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
FRAME = """
{user}
daemon off;
worker_processes 2;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/temp-1;
    proxy_temp_path {folder}/temp-2;
    fastcgi_temp_path {folder}/temp-3;
    uwsgi_temp_path {folder}/temp-4;
    scgi_temp_path {folder}/temp-5;
    include {folder}/clarion-relay.conf;
}}
"""


def changed(text: str, changes: dict[str, str]) -> str:
    """Return the configuration with a few places changed, each of which is there once."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


@dataclass
class Relay:
    """An nginx that can be killed and started again; its cache stays."""

    folder: Path
    origin: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where agents reach it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.port = self.port or free_port()
        self.folder.mkdir(exist_ok=True)
        self._configure()
        assert NGINX
        command = [
            NGINX,
            "-p",
            str(self.folder),
            "-c",
            str(self.folder / "nginx.conf"),
            "-e",
            str(self.folder / "begin"),
        ]
        # A group of its own: killed without its workers, the master would leave them listening.
        self.process = subprocess.Popen(command, start_new_session=True)
        until = time.monotonic() + 10
        while not _listens(self.port):
            assert self.process.poll() is None, (self.folder / "begin").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and all its workers."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)
            self.process.wait(10)

    def complaints(self) -> str:
        """Return what it logged."""
        return (self.folder / "error.log").read_text()

    def _configure(self) -> None:
        changes = {
            "controller.example.com:7414": self.origin.removeprefix("http://"),
            "listen 8080;": f"listen 127.0.0.1:{self.port};",
            "/var/cache/nginx/clarion": f"{self.folder}/cache",
            "min_free=2g": "min_free=1m",
        }
        (self.folder / "clarion-relay.conf").write_text(changed(SHIPPED.read_text(), changes))
        user = "user root root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(FRAME.format(folder=self.folder, user=user))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
