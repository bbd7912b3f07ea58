"""What the walls around a build cost: the large synthetic app of update.py, built with them and without.

    builds.py [--quick]

Each is built in a process of its own that adopts what its children leave, so that all CPU time is counted. The floor
is `clarion build` without walls, in the same run.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.row import Row
from tests.bench.update import FULL, QUICK, Size, make_source, vocabulary

from clarion_controller.build import build
from clarion_controller.builds import sandbox
from clarion_controller.builds.limits import Limits

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 900


def main() -> None:
    """Measure and print; or be the process that is measured."""
    parser = argparse.ArgumentParser(description="Measure what the walls around a build cost.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.files} files, {QUICK.megabytes} MB")
    parser.add_argument("--build", nargs=3, metavar=("HOW", "SOURCE", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        json.dump(built(*options.build), sys.stdout)
        return
    for row in (row.as_json() for row in measure(QUICK if options.quick else FULL)):
        floor = f"floor {row['floor']:>7.4g}   {row['ratio']:>5.2f} x" if row["floor"] else ""
        print(f"{row['name']:<68} {row['value']:>8.4g} {row['unit']:<3} {floor}")


def measure(size: Size = FULL) -> list[Row]:
    """Return the rows for one app, built both ways."""
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as name:
        source = Path(name) / "source"
        made = make_source(source, size, vocabulary())
        bare, walled = (measured(how, source, Path(name) / how) for how in ("bare", "walled"))
    app = f"build of a synthetic app of {made / 1e6:.0f} MB between walls"
    units = {"CPU": "s", "wall": "s", "largest process": "MB"}
    return [Row(f"{app}, {what}", 1, walled[what], unit, bare[what]) for what, unit in units.items()]


def measured(how: str, source: Path, out: Path) -> dict[str, float]:
    """Return what a build took, in a process of its own."""
    command = [sys.executable, __file__, "--build", how, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def built(how: str, source: str, out: str) -> dict[str, float]:
    """Build; return what it took."""
    # What bubblewrap leaves to be buried is ours then, and so is its CPU time.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    if how == "walled":
        sandbox.build(Path(source), Path(out), "1.0", Limits(), lambda lines: None)
    else:
        build(Path(source), Path(out), "1.0")
    wall = time.monotonic() - began
    bury()
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "CPU": sum(each.ru_utime + each.ru_stime for each in both),
        "wall": wall,
        "largest process": max(each.ru_maxrss for each in both) / 1000,
    }


def bury() -> None:
    """Wait for all children."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
