"""The agent is killed at every system call that changes something, from staging to commit.

strace counts the calls of one deployment, then the deployment is run once for each of them
with SIGKILL right before it. After each: what `current` leads to is a whole release, the
old or the new; a new agent finishes or undoes; and deploying once more works.
"""

from __future__ import annotations

import collections
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.crash import local_host
from tests.crash.local_host import BEGIN, NEW, OLD
from tests.crash.publish import publish

from clarion_protocol.words import HostStatus

ROOT = Path(__file__).parents[2]
CALLS = (
    "write,pwrite64,ftruncate,mkdir,mkdirat,link,linkat,symlink,symlinkat,rename,renameat,renameat2,"
    "fchmod,chmod,fsync,fdatasync,syncfs,unlink,unlinkat,rmdir"
)

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (make lab-deps)"),
]


@dataclass(frozen=True)
class Point:
    """The `number`-th call of `call`, before which the agent is killed."""

    call: str
    number: int


@dataclass(frozen=True)
class Verdict:
    """What became of one kill: how it came out, or what was wrong."""

    point: Point
    outcome: str
    wrong: str | None = None


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a host that runs 1.0.0, with 2.0.0 in its store."""
    folder = tmp_path_factory.mktemp("host")
    publish(folder, "1.0.0", 1)
    publish(folder, "2.0.0", 2)
    assert local_host.deploy_version(folder, "1.0.0").status is HostStatus.COMMITTED
    return folder


def test_killed_before_any_change_a_host_is_whole_and_goes_on(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Old or new, never half, never nothing; and the next deployment works."""
    points = points_of(prepared, tmp_path)

    verdicts = kill_at_each(points, prepared, tmp_path)

    figures = collections.Counter(verdict.outcome for verdict in verdicts)
    with capsys.disabled():
        print(f"\nkilled before each of {len(points)} system calls: {dict(sorted(figures.items()))}")
    assert [verdict for verdict in verdicts if verdict.wrong] == []
    assert set(figures) == {"stayed old", "rolled forward", "new"}


def test_a_link_that_is_removed_before_it_is_made_is_caught(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Negative control: with unlink and symlink in place of rename, a kill in between must show."""
    points = [point for point in points_of(prepared, tmp_path, "--careless") if point.call == "symlink"]

    verdicts = kill_at_each(points, prepared, tmp_path, "--careless")

    wrong = [verdict.wrong for verdict in verdicts if verdict.wrong]
    with capsys.disabled():
        print(f"\nnegative control: {len(wrong)} of {len(points)} kills caught: {sorted(set(wrong))}")
    assert wrong == ["there is no current release"]


def points_of(prepared: Path, tmp_path: Path, *options: str) -> list[Point]:
    """Return every call of one deployment that changes something, in the order of the trace."""
    trace = tmp_path / "trace"
    host = _copy(prepared, tmp_path / "counted")
    done = _run(host, ["-e", f"trace={CALLS}", "-o", str(trace)], options)
    assert done.returncode == 0, done.stderr.decode()
    assert local_host.what_is_wrong(host) is None
    return _after_the_mark(trace.read_text("utf-8", "replace"))


def kill_at_each(points: list[Point], prepared: Path, tmp_path: Path, *options: str) -> list[Verdict]:
    """Kill one deployment at each of `points`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(_kill, prepared, tmp_path, options), points))


def _kill(prepared: Path, tmp_path: Path, options: tuple[str, ...], point: Point) -> Verdict:
    host = _copy(prepared, tmp_path / f"{point.call}-{point.number}")
    inject = f"inject={point.call}:signal=KILL:when={point.number}"
    done = _run(host, ["-e", f"trace={point.call}", "-e", inject, "-o", "/dev/null"], options)
    if done.returncode not in (-9, 137):
        return Verdict(point, "not killed", f"exit code {done.returncode}: {done.stderr.decode()[-300:]}")
    verdict = Verdict(point, *_examine(host))
    shutil.rmtree(host)
    return verdict


def _examine(host: Path) -> tuple[str, str | None]:
    """Return how the kill came out, and what is wrong if anything is."""
    if wrong := local_host.what_is_wrong(host):
        return "broken by the kill", wrong
    at_kill = local_host.app_folder(host).current()
    local_host.recover(host)
    after = local_host.app_folder(host).current()
    if wrong := local_host.what_is_wrong(host) or _what_disagrees(host):
        return "broken by recovery", wrong
    if after == OLD and local_host.deploy_version(host, "2.0.0").status is not HostStatus.COMMITTED:
        return "stuck", "the next deployment fails"
    if local_host.app_folder(host).current() != NEW:
        return "stuck", "the next deployment did not arrive"
    if at_kill == NEW:
        return "new", None
    return ("rolled forward" if after == NEW else "stayed old"), None


def _what_disagrees(host: Path) -> str | None:
    app = local_host.app_folder(host)
    if local_host.what_runs(host) != app.current():
        return f"{local_host.what_runs(host)} runs, and current is {app.current()}"
    leftovers = [*app.staging.iterdir(), *app.trash.iterdir(), *app.root.rglob("*.tmp")]
    if leftovers or app.drain_flag.exists():
        return f"left behind: {leftovers}, drained: {app.drain_flag.exists()}"
    return None


def _after_the_mark(trace: str) -> list[Point]:
    seen: collections.Counter[str] = collections.Counter()
    points: list[Point] = []
    has_begun = False
    for line in trace.splitlines():
        call = re.match(r"(?:\d+\s+)?([a-z0-9]+)\(", line)
        if call is None:
            continue
        seen[call[1]] += 1
        if has_begun:
            points.append(Point(call[1], seen[call[1]]))
        has_begun = has_begun or f"/{BEGIN}" in line
    return points


def _run(host: Path, options: list[str], driver: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tests.crash.local_host", str(host), "2.0.0", *driver]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    return subprocess.run(
        ["strace", "-f", "-qq", *options, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


def _copy(prepared: Path, to: Path) -> Path:
    shutil.copytree(prepared, to, symlinks=True)
    # What the service manager wrote down is a path on the disk that was copied.
    (to / "running").write_text(str(to / "srv/shop/releases" / OLD), "utf-8")
    return to
