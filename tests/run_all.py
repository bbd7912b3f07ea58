"""Runs everything a change has to pass: checks, unit tests on old and new Python, clouds, real servers, crashes.

Eight rules:
- what cannot run here is counted as skipped, with the reason, never passed over in silence;
- a step that ends without a result has failed;
- two unit test steps run at a time, because they wait more than they compute; after them what boots servers, three
  files of it at a time;
- on the Python of .venv everything writes to a disk; on the others into memory, where there is enough: half of their
  time those tests waited for a disk, and each kind of place finds what the other hides;
- the oldest and the newest Python that we promise are tried, and that of .venv: what lies between differs less;
- what takes long and finds the same on every Python (marked `once`, and properties) runs on the one of .venv only;
- Python keeps what it compiled, whatever the environment says: hundreds of controllers and agents are started;
- the last line sums up every step, and the exit code says the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
MINORS = sorted({10, sys.version_info.minor, 13})
AT_A_TIME = 2
MEMORY = Path("/dev/shm")
ENOUGH = 6 * 2**30  # bytes of memory, of which the tests fill half of one
LIMIT = 20 * 60  # seconds for one step; a single test has its own, in pyproject.toml

APART = ("lab", "crash", "clouds", "bench")
UNIT = ["-n", "logical", *(f"--ignore=tests/{name}" for name in APART), "tests"]
CLOUDS = ["-n", "logical", "tests/clouds"]  # the SDKs are not installed for the other Pythons
# Each skips itself where it cannot run, and says why.
REAL = ["-n", "3", "--dist", "loadfile", "tests/lab", "tests/crash"]

Run = Callable[[list[str]], bool]


@dataclass(frozen=True)
class Result:
    """What one step came to, how long it took (s), and why what was left out was left out."""

    step: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()


def main() -> int:
    """Run all steps, print what became of each, and return the exit code."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    results = [check("ruff", ["ruff", "check"]), check("mypy", ["mypy"]), check("imports", ["lint-imports"])]
    steps: list[Callable[[], Result]] = [partial(check, "what servers boot from", ["python", "-m", "tests.lab.warm"])]
    steps += [partial(unit_tests_on, minor) for minor in MINORS]
    steps.append(partial(pytest_aside, "SDKs of the clouds", BIN, CLOUDS, None))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results += pool.map(lambda step: step(), steps)
    results.append(pytest("real servers and crashes", BIN, REAL))
    return closing(results)


def check(step: str, command: list[str]) -> Result:
    """Run one static check; it counts as one test."""
    began = announce(step)
    ok = succeeds([str(BIN / command[0]), *command[1:]])
    return Result(step, passed=int(ok), failed=int(not ok), seconds=time.monotonic() - began)


def pytest(step: str, bin_dir: Path, arguments: list[str], run: Run | None = None) -> Result:
    """Run pytest and count from its own report, so that nothing is read off the screen."""
    began = announce(step)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        ok = (run or succeeds)([str(bin_dir / "python"), "-m", "pytest", f"--junitxml={report}", *arguments])
        counted = count(step, report)
    # No report, or a failure outside any test (a broken conftest, no tests at all), is a failure too.
    return replace(counted, failed=counted.failed if ok else max(counted.failed, 1), seconds=time.monotonic() - began)


def count(step: str, report: Path) -> Result:
    """Count the tests of a JUnit report; none at all if there is no report."""
    if not report.exists():
        return Result(step)
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skips = [skip.get("message", "no reason") for case in cases for skip in case.findall("skipped")]
    reasons = tuple(f"{times} x {reason}" for reason, times in Counter(skips).items())
    return Result(step, len(cases) - failed - len(skips), failed, len(skips), reasons=reasons)


def pytest_aside(step: str, bin_dir: Path, arguments: list[str], place: Path | None) -> Result:
    """Run pytest beside another step, in a folder below `place` (None: the usual one) that goes with it."""
    with tempfile.TemporaryDirectory(prefix="c-", dir=place, ignore_cleanup_errors=True) as scratch:
        Path(scratch).chmod(0o1777)  # as /tmp is
        # The tests' own folders lie in a short path: the address of a Unix socket has 107 bytes.
        base = f"--basetemp={scratch}/t"
        return pytest(step, bin_dir, [base, *arguments], partial(succeeds_aside, scratch))


def unit_tests_on(minor: int) -> Result:
    """Run the unit tests on a Python, each but our own in an environment of its own, if this machine has it."""
    step = f"unit tests, Python 3.{minor}"
    if minor == sys.version_info.minor:
        return pytest_aside(step, BIN, UNIT, None)
    python = find_python(minor)
    if python is None:
        return Result(step, skipped=collected(UNIT[2:]), reasons=(f"no Python 3.{minor} on this machine",))
    bin_dir = environment(python, ROOT / ".venvs" / f"3.{minor}")
    if bin_dir is None:
        return Result(step, failed=1, reasons=(f"{python}: the environment could not be made",))
    return pytest_aside(step, bin_dir, ["-m", "not once and not hypothesis", *UNIT], memory())


def memory() -> Path | None:
    """Return where files lie in memory, if there is enough of it and they may be run; None is the usual place."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    room = min(psutil.disk_usage(str(MEMORY)).free, psutil.virtual_memory().available)
    return MEMORY if room > ENOUGH else None


def find_python(minor: int) -> str | None:
    """Return a Python 3.<minor> that starts; pyenv's shim of one that is not switched on does not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python3.{minor}"), *map(str, pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}"))]
    probe = f"import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return next((python for python in found if python and succeeds([python, "-c", probe], quiet=True)), None)


def environment(python: str, where: Path) -> Path | None:
    """Return the bin directory of a cached environment, made anew when the pins or the project's settings changed."""
    wanted = hashlib.sha256((ROOT / "constraints.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes())
    stamp, pip = where / ".installed", [str(where / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return where / "bin"
    commands = [
        [python, "-m", "venv", "--clear", str(where)],
        [*pip, "--require-hashes", "-r", "constraints.txt"],
        [*pip, "--no-deps", "--no-build-isolation", "--editable", "."],
    ]
    if not all(succeeds(command) for command in commands):
        return None
    stamp.write_text(wanted.hexdigest())
    return where / "bin"


def collected(arguments: list[str]) -> int:
    """Return how many tests pytest would run."""
    command = [str(BIN / "python"), "-m", "pytest", "--collect-only", "-q", *arguments]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
    return sum("::" in line for line in listing.stdout.splitlines())


def succeeds(command: list[str], *, quiet: bool = False) -> bool:
    """Run a command in the project's root; an endless one is ended and has failed."""
    out = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, cwd=ROOT, timeout=LIMIT, stdout=out, stderr=out, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"ended after {LIMIT} s: {' '.join(command)}", flush=True)
        return False


def succeeds_aside(scratch: str, command: list[str]) -> bool:
    """Run a command beside others, with its own /tmp, and show what it printed in one piece when it is over."""
    environment = {**os.environ, "TMPDIR": scratch}
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        try:
            merged = subprocess.STDOUT
            done = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=LIMIT, stdout=printed, stderr=merged, check=False
            )
            ending = f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"ended after {LIMIT} s"
        printed.seek(0)
        print(f"\n--- {' '.join(command)}\n{printed.read()}--- {ending}", flush=True)
    return ending == "exit code 0"


def announce(step: str) -> float:
    """Print a step's name and return when it began."""
    print(f"\n=== {step}", flush=True)
    return time.monotonic()


def closing(results: list[Result]) -> int:
    """Print a line for each step, then the sum of all, and return 1 if anything failed."""
    print("\n=== all steps")
    for r in results:
        print(f"{r.step:26} {r.passed:5} passed {r.failed:4} failed {r.skipped:4} skipped {r.seconds:6.0f} s")
    for r in results:
        for reason in r.reasons:
            print(f"!!! NOT RUN, {r.step}: {reason}")
    passed, failed, skipped = (sum(getattr(r, name) for r in results) for name in ("passed", "failed", "skipped"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
