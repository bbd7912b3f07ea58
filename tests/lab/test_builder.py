"""Builds on a server as they are installed: the unit, its user, its walls, and a package that comes of a push."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import debs
from .cache import Cache
from .cluster import Cluster
from .debian import BUILDING, with_packages
from .lab import Lab

pytestmark = pytest.mark.timeout(900)
BUILDER = "clarion-builder.service"
BARE, WORK = "/srv/git/shop.git", "/root/shop"
FLEET = f"""
[repository.shop]
url = "file://{BARE}"
timeout = "2m"
"""
APP = '[app]\nname = "shop"\n[build]\nrun = ["python3 make.py"]\n'
# Tries what an app of somebody else's might, and says how it went.
CURIOUS = """
import os, socket
print("who", os.getuid() == {uid})
for path in {paths}:
    try: os.stat(path); print("SEES", path)
    except OSError: print("nothing at", path)
for kind, address in ((socket.AF_UNIX, "/var/lib/clarion/run/controller.sock"), (socket.AF_INET, ("127.0.0.1", 7401))):
    try: socket.socket(kind).connect(address); print("REACHES", address)
    except OSError: print("no way to", address)
print("processes", sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[-1] < 50)
if os.system("unshare --user true 2>/dev/null") == 0: print("makes a namespace")
open("made", "w").write("1")
"""
PATHS = ("/var/lib/clarion", "/var/lib/clarion-builder", "/home", "/run/clarion-builder", BARE, "/root/shop")
GIT = ("git", "-C", WORK, "-c", "user.name=Somebody", "-c", "user.email=somebody@example.net")


@pytest.fixture(scope="module")
def cluster(cache: Cache) -> Iterator[Cluster]:
    """Give a controller with its builder, both as apt has installed them, and a repository beside them."""
    debian = with_packages(cache, *BUILDING)
    with Lab(cache) as lab:
        (control,) = lab.boot("control", layers=[debs.installed(cache, "clarion", over=debian), debian])
        cluster = Cluster(lab, control, [])
        control.run("git", "init", "--quiet", "--bare", "--initial-branch=main", BARE)
        control.run("git", "clone", "--quiet", BARE, WORK)
        control.write(f"{WORK}/clarion.toml", APP)
        cluster.found(FLEET)
        yield cluster


def push(cluster: Cluster, script: str) -> str:
    """Commit and push what the build runs; return the version that comes of it."""
    cluster.control.write(f"{WORK}/make.py", script)
    cluster.control.run(*GIT, "add", ".")
    cluster.control.run(*GIT, "commit", "--quiet", "-m", "Change")
    cluster.control.run(*GIT, "push", "--quiet", "origin", "HEAD:main")
    return cluster.control.run(*GIT, "rev-parse", "HEAD").stdout.strip()[:12]


def builds(cluster: Cluster) -> list[dict[str, Any]]:
    """Return what `clarion builds` lists, newest first."""
    found: list[dict[str, Any]] = json.loads(cluster.must("builds", "--json"))
    return found


def newest(cluster: Cluster, holds: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
    """Return the newest build once `holds` is true of it."""
    deadline = time.monotonic() + seconds
    while not holds(build := builds(cluster)[0]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{build}\n{log(cluster)}\n{cluster.control.journal(BUILDER)[-3000:]}")
        time.sleep(0.3)
    return build


def is_over(build: dict[str, Any]) -> bool:
    """Return whether a build has ended."""
    return build["finished_at"] is not None


def log(cluster: Cluster) -> str:
    """Return what the newest build has written."""
    return cluster.clarion("builds", "log", builds(cluster)[0]["id"]).stdout


def test_a_push_becomes_a_package(cluster: Cluster) -> None:
    """What is pushed is built by the installed unit, sees nothing of the controller, and is published."""
    uid = cluster.control.run("id", "-u", "clarion-build").stdout.strip()
    version = push(cluster, CURIOUS.format(uid=uid, paths=PATHS))
    cluster.must("builds", "start", "shop", "main")
    build = newest(cluster, is_over)
    said = log(cluster)
    assert build["status"] == "succeeded", (build, said)
    assert "who True" in said
    assert "processes True" in said
    assert said.count("nothing at") == len(PATHS)
    assert said.count("no way to") == 2
    assert "makes a namespace" not in said
    assert f"{version} " in cluster.must("packages", "shop")


def test_the_builders_user_may_read_nothing_of_the_controller(cluster: Cluster) -> None:
    """Neither the home nor the controller's own socket opens for the user that builds run as."""
    for command in ("ls /var/lib/clarion", "cat /var/lib/clarion/fleet.toml", "ls /var/lib/clarion/run/builder"):
        done = cluster.control.run("runuser", "-u", "clarion-build", "--", "sh", "-c", command, check=False)
        assert "Permission denied" in done.stderr
    assert "clarion" not in cluster.control.run("id", "-nG", "clarion-build").stdout.split()


def test_a_build_outlives_a_restart_of_the_controller(cluster: Cluster) -> None:
    """A controller that is restarted finds the build that runs, and publishes what comes of it."""
    version = push(cluster, "import time; print('waits', flush=True); time.sleep(8); open('made', 'w').write('2')")
    cluster.must("builds", "start", "shop", "main")
    newest(cluster, lambda build: build["status"] == "running")
    cluster.control.run("systemctl", "restart", "clarion-controller", timeout=60)
    cluster.wait_until_it_answers()
    build = newest(cluster, is_over)
    assert build["status"] == "succeeded", (build, log(cluster))
    assert version in cluster.must("packages", "shop")


def test_a_builder_that_stops_leaves_nothing_running(cluster: Cluster) -> None:
    """A stop ends the build at once, says so in its log, clears its folder, and gives the build to the next."""
    push(cluster, "import os; os.execvp('sleep', ['built-for-long', '100'])")
    cluster.must("builds", "start", "shop", "main")
    cluster.control.run("sh", "-c", "until pgrep -f built-for-long; do sleep 0.1; done", timeout=60)
    began = time.monotonic()
    cluster.control.run("systemctl", "stop", BUILDER, timeout=60)
    assert time.monotonic() - began < 15
    assert cluster.control.run("pgrep", "-f", "built-for-long", check=False).returncode == 1
    assert "the builder is being stopped" in log(cluster)
    assert cluster.control.run("ls", "/var/lib/clarion-builder/work").stdout == ""
    assert builds(cluster)[0]["status"] == "queued"
    cluster.control.run("systemctl", "start", BUILDER)


def test_the_unit_is_hardened_as_far_as_walls_permit(cluster: Cluster) -> None:
    """What is loose in the unit is what bubblewrap needs, and no more: systemd's own measure says so."""
    cluster.control.run("systemd-analyze", "security", "--threshold=46", BUILDER)
