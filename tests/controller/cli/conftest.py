"""What the tests of the command line share: a controller that gives prepared answers over a real Unix socket."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from clarion_controller.api.answers import (
    DeploymentAnswer,
    ErrorAnswer,
    HostAnswer,
    HostProgress,
    PlanAnswer,
    PlanRequest,
)
from clarion_controller.cli import run
from clarion_controller.key_files import KeyFolder
from clarion_protocol.documents import Deployment, Facts, Plan, ReleaseRef, Running, Targets
from clarion_protocol.words import DeploymentStatus, HostStatus, Intent

NOW = 1_800_000_000
IDS = {f"web-{n}": f"{n:032x}" for n in range(1, 10)}


class Refusal(Exception):
    """What an answer raises to make the controller say no."""

    def __init__(self, status: int, answer: ErrorAnswer) -> None:
        super().__init__(answer.message)
        self.status, self.answer = status, answer


class StandIn:
    """A controller without a rollout: `answers` maps "METHOD /path" to what is called with (query, body)."""

    def __init__(self, socket: Path) -> None:
        self.answers: dict[str, Callable[[dict[str, str], bytes], Any]] = {}
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        stand_in = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.serve(self)

            do_POST = do_DELETE = do_GET  # noqa: N815 (the server's spelling)

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return ""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing of a client that has gone: Ctrl-C is tested, too."""

        self._server = Server(str(socket), Page)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, page: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        url = urlsplit(page.path)
        body = page.rfile.read(int(page.headers.get("Content-Length") or 0))
        call = f"{page.command} {url.path}"
        self.calls.append((call, dict(parse_qsl(url.query)), body))
        status, answer = self._answer(call, dict(parse_qsl(url.query)), body)
        page.send_response(status)
        page.send_header("Content-Length", str(len(answer)))
        page.end_headers()
        page.wfile.write(answer)

    def _answer(self, call: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            answer = self.answers[call](query, body)
        except Refusal as refusal:
            return refusal.status, msgspec.json.encode(refusal.answer)
        return 200, answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    def called(self, call: str) -> list[bytes]:
        """Return the bodies of every such call."""
        return [body for name, _, body in self.calls if name == call]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a controller's home with a deployer's key."""
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    KeyFolder(home / "keys").make("deployer")
    return home


@pytest.fixture
def controller(home: Path) -> Iterator[StandIn]:
    """Yield a controller that listens in `home`."""
    stand_in = StandIn(home / "run" / "controller.sock")
    yield stand_in
    stand_in.stop()


class Terminal:
    """Types commands and keeps what they wrote."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._home, self._capsys = home, capsys
        self.out = self.err = ""

    def type(self, *arguments: str) -> int:
        """Run `clarion` with `arguments` and return its exit code."""
        code = run(["--home", str(self._home), *arguments])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code


@pytest.fixture
def terminal(home: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Return a terminal at the controller in `home`."""
    return Terminal(home, capsys)


def a_host(name: str, **given: Any) -> HostAnswer:
    """Return an enrolled, connected host."""
    known: dict[str, Any] = {
        "name": name,
        "environment": "production",
        "id": IDS.get(name),
        "is_discovered": True,
        "is_enrolled": True,
        "is_connected": True,
        "last_seen": NOW,
        "facts": Facts(agent_version="0.1.0", load=0.5, cpus=2, disk_free=10**10),
        "running": [Running("shop", "1.0.0", 1, "0" * 64, is_active=True)],
    }
    return HostAnswer(**{**known, **given})


def a_deployment(request: PlanRequest, now: float = NOW, **given: Any) -> Deployment:
    """Return the document that an honest controller draws up."""
    names = request.hosts if request.hosts is not None else ["web-1", "web-2", "web-3"]
    known: dict[str, Any] = {
        "id": "d" * 32,
        "cluster": "c" * 32,
        "environment": request.environment,
        "stream": f"{request.environment}/{request.app}",
        "epoch": 1,
        "seq": 7,
        "app": request.app,
        "version": request.version or "0.9.0",
        "release": 2,
        "path": f"{request.app}/{request.app}-{request.version or '0.9.0'}.tar.zst",
        "length": 4096,
        "sha256": "a" * 64,
        "targets": Targets(hosts=[IDS[name] for name in names if name in IDS]),
        "plan": request.plan or Plan(max_parallel="1"),
        "intent": request.intent,
        "go_back_to": ReleaseRef("1.0.0", 1, "b" * 64),
        "issued_at": int(now),
        "not_before": int(now),
        "expires": int(now) + 3600,
        "actor": request.actor,
        "reason": request.reason,
    }
    return Deployment(**{**known, **given})


def a_plan(request: PlanRequest, now: float = NOW, **given: Any) -> PlanAnswer:
    """Return what an honest controller answers to `request`; `given` changes the document."""
    targets = request.hosts if request.hosts is not None else ["web-1", "web-2", "web-3"]
    return PlanAnswer(deployment=a_deployment(request, now, **given), targets=targets, running={"1.0.0": len(targets)})


def progress(status: DeploymentStatus, *hosts: HostStatus, revision: int = 1, **given: Any) -> DeploymentAnswer:
    """Return a deployment whose hosts web-1, web-2, ... stand at `hosts`."""
    lines = [
        HostProgress(name=f"web-{n}", id=f"{n:032x}", status=host, reason=given.pop(f"reason_{n}", ""))
        for n, host in enumerate(hosts, start=1)
    ]
    known: dict[str, Any] = {
        "id": "d" * 32,
        "app": "shop",
        "environment": "production",
        "version": "1.1.0",
        "release": 2,
        "intent": Intent.INSTALL,
        "seq": 7,
        "status": status,
        "reason": "because",
        "revision": revision,
        "created": NOW,
        "finished": NOW + 12 if status.is_final else None,
        "plan": Plan(),
        "hosts": lines,
        "counts": {each.value: sum(host is each for host in hosts) for each in set(hosts)},
    }
    return DeploymentAnswer(**{**known, **given})
