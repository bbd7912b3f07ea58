"""A power cut at any moment of a deployment leaves a whole release, a readable journal, and an agent that goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.agent.rig import World

from clarion_agent import durable

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("unshare", "mount", "mkfs.ext4")
LIMIT = 270

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
needs_loop_devices = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not all(map(shutil.which, TOOLS)),
    reason="cutting the power needs root, loop devices and e2fsprogs; run 'make lab-deps'",
)


def cuts(work: Path, *options: str) -> list[dict[str, str]]:
    """Cut the power before each operation of a deployment; return what became of each cut."""
    command = ["unshare", "--mount", sys.executable, "-m", "tests.crash.powercut", str(work), *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@needs_loop_devices
def test_a_power_cut_at_any_operation_leaves_the_old_release_or_the_new_one(tmp_path: Path) -> None:
    """Whatever is cut: `current` is whole at boot, the agent finishes or undoes, and deploying again works."""
    found = cuts(tmp_path)
    assert [cut for cut in found if cut["problem"]] == []
    outcomes = Counter((cut["at_boot"], cut["after"]) for cut in found)
    print(f"power cut before each of {len(found)} operations: {dict(outcomes)}")
    assert outcomes.keys() == {("1-1.0.0", "1-1.0.0"), ("1-1.0.0", "2-2.0.0"), ("2-2.0.0", "2-2.0.0")}


@needs_loop_devices
@pytest.mark.parametrize(
    ("step", "damage"),
    [("syncfs", "is changed"), ("fsync", "damaged")],
    ids=["the sync of the tree before its rename", "the sync of a file before its rename"],
)
def test_a_missing_sync_would_be_seen(tmp_path: Path, step: str, damage: str) -> None:
    """Without one of the agent's syncs the same cuts do find damage: the harness has teeth."""
    last = cuts(tmp_path, "--without", step, "--stop-at-first")[-1]
    assert damage in last["problem"]


def test_what_a_rename_exposes_is_synced_before_and_its_folder_after(tmp_path: Path) -> None:
    """In the trace of a deployment no rename comes before its sync or goes without its folder's."""
    world = World(tmp_path)
    package = world.publish("1.0.0", 1)
    trace: list[tuple[str, Path]] = []
    watch = lambda operation, path: trace.append((operation, path))  # noqa: E731
    durable.watchers.append(watch)
    try:
        world.deploy(package)
    finally:
        durable.watchers.remove(watch)
        world.core.close()
    renames = [number for number, (operation, _) in enumerate(trace) if operation == "rename"]
    assert len(renames) > 10
    for number in renames:
        path = trace[number][1]
        assert _is_synced_before(trace[:number], path), path
        assert trace[number + 1] == ("fsync", path.parent)


def _is_synced_before(trace: list[tuple[str, Path]], path: Path) -> bool:
    """Return whether what a rename to `path` exposes is on the disk: its content, or all of its tree."""
    temporary = path.with_name(f"{path.name}.tmp")
    # a link has no content of its own; what it names was moved into place before
    before = trace[-1]
    is_tree = path.parent.name == "releases"
    return before in {("fsync", temporary), ("symlink", temporary)} or (is_tree and "syncfs" in dict(trace))
