"""A cluster whose one app is built from a git repository and from a wheel that others publish, night after night."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from tests.controller.live import Live, live, new_cluster

from clarion_controller.api.answers import PlanRequest
from clarion_controller.build import build
from clarion_controller.nightly.evening import Evening, Wishes
from clarion_controller.nightly.report import Check, Report
from clarion_controller.nightly.run import run_night
from clarion_controller.nightly.settle import Ended
from clarion_controller.publish import publish

APP_TOML = """\
[app]
name = "shop"

[build]
run = ["{python} -m pip install --quiet --no-index --find-links {wheels} --no-compile --target lib greeting"]

[test]
package = ["{python} check.py"]
"""
CHECK = """\
import sys

sys.path.insert(0, "lib")
import greeting

if greeting.hello() != "hello":
    sys.exit(f"greeting says {greeting.hello()}")
"""
FLEET = """\
[environment.production]

[repository.shop]
url = "{url}"
network = "full"
"""
REBUILDS = Wishes(servers=False)


def moment(night: str) -> float:
    """Return three in the morning of a night."""
    return datetime.fromisoformat(f"{night}T03:00:00+00:00").astimezone(timezone.utc).timestamp()


def write_wheel(folder: Path, version: str, says: str = "hello") -> None:
    """Publish a version of the dependency, in place of all others."""
    for old in folder.glob("*.whl"):
        old.unlink()
    info = f"greeting-{version}.dist-info"
    files = {
        "greeting.py": f"def hello():\n    return {says!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"greeting-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(name), content)


@contextmanager
def serving_folder(folder: Path, gate: threading.Event) -> Iterator[str]:
    """Serve a folder by HTTP on this machine while `gate` is open, and yield its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if gate.wait(60):
                with suppress(BrokenPipeError, ConnectionResetError):
                    super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def git(folder: Path, *arguments: str) -> None:
    """Run git, as somebody."""
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.net", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Town:
    """Everything that a night is about: a controller that serves, upstream's wheels, a git remote.

    `address` is where upstream is. While `gate` is closed, upstream keeps whoever asks waiting.
    """

    live: Live
    gate: threading.Event
    address: str
    wheels: Path
    source: Path
    remote: Path

    @property
    def home(self) -> Path:
        """The controller's home."""
        return self.live.home

    def evening(self, night: str, wishes: Wishes = REBUILDS, **fleet: object) -> Evening:
        """Return the evening before a night; `fleet` changes its [nightly]."""
        evening = Evening.at(self.home, self.live.client, wishes, lambda _line: None)
        nightly = msgspec.structs.replace(evening.fleet.nightly, **fleet)
        return replace(evening, began=moment(night), fleet=msgspec.structs.replace(evening.fleet, nightly=nightly))

    def night(self, night: str, wishes: Wishes = REBUILDS, **fleet: object) -> Ended:
        """Run a night."""
        return run_night(self.evening(night, wishes, **fleet))

    def kept(self, night: str) -> Report:
        """Return the report that is kept of a night."""
        return self.evening(night).reports.read(night)

    def release(self, version: str) -> None:
        """Commit what lies in the source, tag it, push it, build it here, and publish it."""
        git(self.source, "add", ".")
        git(self.source, "commit", "-q", "--allow-empty", "-m", version)
        git(self.source, "tag", f"v{version}")
        git(self.source, "push", "-q", str(self.remote), "main", f"v{version}")
        built = build(self.source, self.source.parent / "dist", version)
        publish(self.home, built.package, built.manifest)

    def deploy(self, version: str) -> None:
        """Order a version; no host has to run it for it to be what is wanted."""
        plan = self.live.client.plan(PlanRequest(app="shop", environment="production", version=version))
        self.live.client.order(plan.deployment.sealed(self.live.deployer))


@contextmanager
def town(folder: Path, fleet: str = "") -> Iterator[Town]:
    """Have a cluster with shop 1.0.0 in force, built with greeting 1.0; `fleet` is added to its fleet.toml."""
    wheels, source, remote = folder / "wheels", folder / "source", folder / "remote.git"
    for each in (wheels, source):
        each.mkdir()
    write_wheel(wheels, "1.0")
    git(folder, "init", "-q", "--bare", str(remote))
    git(source, "init", "-q")
    cluster = new_cluster(folder, FLEET.format(url=remote) + fleet)
    gate = threading.Event()
    gate.set()
    with serving_folder(wheels, gate) as address, live(cluster.home) as controller:
        (source / "clarion.toml").write_text(APP_TOML.format(python=sys.executable, wheels=address))
        (source / "check.py").write_text(CHECK)
        town = Town(controller, gate, address, wheels, source, remote)
        town.release("1.0.0")
        controller.enrol("web-1")
        town.deploy("1.0.0")
        yield town
        gate.set()


def check_in(report: Report, name: str) -> Check:
    """Return the check of that name."""
    return next(check for check in report.checks if check.name == name)
