"""What tests of builds share: a cluster with a repository, announcements as forges send them, a builder that obeys."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.controller.live import new_cluster
from tests.ports import free_ports
from tests.stores import Cluster

from clarion_controller.builds.build import Finished, Job, Push, read_job

CLARION = [sys.executable, "-c", "import sys; from clarion_controller.cli import main; sys.exit(main())"]
SECRET = "It's a Secret to Everybody"
A, B, C = (digit * 40 for digit in "abc")
MAIN = "refs/heads/main"


def pushed(commit: str = A, ref: str = MAIN, delivery: str | None = None, **more: Any) -> Push:
    """Return a push, announced once."""
    return Push(repository="shop", ref=ref, commit=commit, delivery=delivery or f"{ref}-{commit}", at=1.0, **more)


def building_cluster(folder: Path, settings: str = "", forge: str = "github", secret: str = SECRET) -> Cluster:
    """Make a cluster with the repository `shop`, whose secret is in its place."""
    (port,) = free_ports(1)
    table = f'[environment.production]\n[repository.shop]\nurl = "{folder}/shop.git"\nforge = "{forge}"\n'
    cluster = new_cluster(folder, f'{table}secret = "file:hook"\n{settings}')
    fleet = cluster.home / "fleet.toml"
    fleet.write_text(fleet.read_text().replace("[environment", f"hook_port = {port}\n[environment", 1))
    (cluster.home / "secrets").mkdir(mode=0o700, exist_ok=True)
    (cluster.home / "secrets" / "hook").write_text(f"{secret}\n")
    (cluster.home / "secrets" / "hook").chmod(0o600)
    (cluster.home / "state").mkdir(mode=0o700, exist_ok=True)
    return cluster


@contextmanager
def controller_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a controller as a process, ready."""
    command = [*CLARION, "serve", "--home", str(home)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home.parent) as process:
        try:
            assert process.stderr
            for line in process.stderr:
                if "controller.ready" in line:
                    break
            ThreadPoolExecutor(1).submit(process.stderr.read)
            yield process
        finally:
            process.kill()


def github_push(commit: str = A, ref: str = MAIN, **more: Any) -> bytes:
    """Return the body of a push as GitHub writes it, without what has no part in this."""
    said = {
        "ref": ref,
        "before": "9" * 40,
        "after": commit,
        "repository": {"id": 1, "full_name": "acme/shop", "pushed_at": 1_800_000_000},
        "pusher": {"name": "ada", "email": "ada@example.net"},
        "sender": {"login": "ada", "id": 7},
        "created": False,
        "deleted": False,
        "forced": False,
        "head_commit": {"id": commit, "message": "Sell more"},
        "commits": [{"id": commit, "message": "Sell more"}],
    }
    return json.dumps({**said, **more}).encode()


def github_signature(body: bytes, secret: str = SECRET, algorithm: str = "sha256") -> str:
    """Return the signature of a body as GitHub makes it."""
    return f"{algorithm}={hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()}"


def github_headers(body: bytes, delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958", **more: str) -> dict[str, str]:
    """Return the headers that GitHub sends with a body."""
    return {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-event": "push",
        "x-github-delivery": delivery,
        "x-hub-signature-256": github_signature(body),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


@dataclass
class ObedientBuilder:
    """A builder that speaks its part over the real socket and does as a test says."""

    socket: Path
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        self.http = httpx.Client(transport=transport, base_url="http://clarion/v1/builder", timeout=20)

    def take(self, wait: float = 0.0) -> Job | None:
        """Take a job."""
        answer = self.http.post("/take", params={"wait": wait})
        return read_job(answer.content) if answer.status_code == 200 else None

    def say(self, job: Job, said: bytes = b"") -> bool:
        """Say what a build wrote; return whether to go on."""
        answer = self.http.post(f"/builds/{job.id}/log", content=said)
        answer.raise_for_status()
        return bool(answer.json()["go_on"])

    def hand_over(self, job: Job, package: bytes, manifest: bytes) -> None:
        """Hand over what a build made."""
        self.http.put(f"/builds/{job.id}/package", content=package).raise_for_status()
        self.http.put(f"/builds/{job.id}/manifest", content=manifest).raise_for_status()

    def finish(self, job: Job, version: str = "", failure: str = "") -> None:
        """Say that a build is over."""
        body = msgspec.json.encode(Finished(version=version, failure=failure))
        self.http.post(f"/builds/{job.id}/finished", content=body).raise_for_status()

    def close(self) -> None:
        """Hang up."""
        self.http.close()
