"""Git remotes on this machine: bare repositories, and the ways to them that forges offer."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WHO = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.net", "-c", "commit.gpgsign=false"]


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody who has a name; return what it says."""
    done = subprocess.run(["git", "-C", folder, *WHO, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class Remote:
    """A bare repository below `folder`, and a clone of it in which somebody works."""

    folder: Path
    name: str = "shop.git"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        git(self.folder, "init", "-q", "--bare", "--initial-branch=main", self.name)
        git(self.folder, "clone", "-q", self.name, f"work-{self.name}")
        git(self.work, "checkout", "-q", "-B", "main")

    @property
    def bare(self) -> Path:
        """The repository."""
        return self.folder / self.name

    @property
    def work(self) -> Path:
        """The clone."""
        return self.folder / f"work-{self.name}"

    @property
    def url(self) -> str:
        """Where the repository is, on this machine's disk."""
        return f"file://{self.bare}"

    def commit(self, files: dict[str, str], push: str = "main") -> str:
        """Commit files and push them to a branch; return the commit."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self.work, "add", "-A", "-f")
        git(self.work, "commit", "-q", "--allow-empty", "-m", "Change")
        git(self.work, "push", "-q", "--force", "origin", f"HEAD:refs/heads/{push}")
        return git(self.work, "rev-parse", "HEAD")


@dataclass
class SmartHttp:
    """Serves the repositories below a folder over http, as a forge does; with `password`, only to who says it."""

    folder: Path
    password: str = ""
    redirect_to: str = ""
    asked: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve; give the address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            """One request, by way of `git http-backend`."""

            def do_GET(self) -> None:
                """Answer."""
                site.asked.append(self.path)
                offered = self.headers.get("authorization", "")
                site.offered += [base64.b64decode(offered.removeprefix("Basic ")).decode()] if offered else []
                if site.redirect_to:
                    self.send_response(302)
                    self.send_header("location", site.redirect_to + self.path)
                    self.end_headers()
                elif site.password and not (offered and site.offered[-1].endswith(f":{site.password}")):
                    self.send_response(401)
                    self.send_header("www-authenticate", 'Basic realm="forge"')
                    self.end_headers()
                else:
                    self._answer()

            do_POST = do_GET  # noqa: N815 (the name is http.server's)

            def _answer(self) -> None:
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                environment = {
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(site.folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "CONTENT_TYPE": self.headers.get("content-type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
                }
                done = subprocess.run(
                    ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
                self.send_response(int(headers.pop("Status", "200").split()[0]))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Say nothing."""

        return Handler
