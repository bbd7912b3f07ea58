"""What a burst of announced pushes costs a controller: wall and CPU time of each, and how much it grows.

The floor is one request at a time over one connection to the same controller, in the same run: what is not shared.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Run as a file, so this folder is on the path and not the one from which `tests` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from tests.bench.row import Row
from tests.controller.builds.pushing import building_cluster, controller_process
from tests.controller.builds.test_receive import Forge

BURST = 1000
AT_ONCE = 200
ALONE = 100


def measure() -> list[Row]:
    """Return the rows of one burst."""
    with tempfile.TemporaryDirectory(prefix="clarion-bench-") as folder:
        home = building_cluster(Path(folder)).home
        with controller_process(home) as process:
            controller = psutil.Process(process.pid)
            alone, _ = _timed(controller, lambda: _announce(home, 1, ALONE))
            before = controller.memory_info().rss
            wall, cpu = _timed(controller, lambda: _announce(home, AT_ONCE, BURST))
            grown = controller.memory_info().rss - before
    name = f"{BURST:,} announced pushes, {AT_ONCE} at once"
    return [
        Row(f"{name}: wall for each", BURST, 1000 * wall / BURST, "ms", 1000 * alone / ALONE),
        Row(f"{name}: CPU of the controller for each", BURST, 1000 * cpu / BURST, "ms"),
        Row(f"{name}: growth of the controller", BURST, grown / 1e6, "MB"),
    ]


def _announce(home: Path, at_once: int, count: int) -> None:
    lost = [status for status in Forge(home, at_once=at_once).announce(count) if status not in (200, 202)]
    if lost:
        raise RuntimeError(f"{len(lost)} of {count} announcements were not taken: {lost[:5]}")


def _timed(controller: psutil.Process, work: Callable[[], None]) -> tuple[float, float]:
    """Return wall and CPU time (s) that the controller took."""
    cpu, wall = sum(controller.cpu_times()[:2]), time.monotonic()
    work()
    return time.monotonic() - wall, sum(controller.cpu_times()[:2]) - cpu


if __name__ == "__main__":
    for row in measure():
        print(row.as_json())
