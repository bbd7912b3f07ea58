"""A night is killed in each of its phases: no process, mount, network or interface is left, and a sweep takes the rest.

What belongs to a night is known by its folder: it is in the control groups of all its processes, and in the mounts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.lab.requirements import missing

from clarion_controller.provisioners.containers.cgroups import Groups
from clarion_controller.provisioners.containers.island import Island
from clarion_controller.provisioners.containers.night_folder import prefix_of, sweep
from clarion_controller.provisioners.containers.recipe import recipe_of, this_machines_apt
from clarion_controller.provisioners.containers.rootfs import build
from clarion_controller.provisioners.containers.users import Users
from clarion_controller.provisioners.containers.workshop import Workshop

NIGHT = Path(__file__).with_name("night.py")
MARK = "CLARION_TEST_NIGHT"
GONE_WITHIN = 10.0
# What a process sees on a machine with only version 2, in the group of a unit that has Delegate=yes.
IN_A_UNIT = """
umount --recursive --lazy /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/$1
echo 0 > /sys/fs/cgroup/$1/cgroup.procs
shift
exec "$@"
"""

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root file system that several nights lie on."""
    folder = tmp_path_factory.mktemp("rootfs")
    folder.chmod(0o711)
    island, groups = Island(), Groups(f"clarion-night-crash-{os.getpid()}")
    try:
        apt = this_machines_apt()
        build(Workshop(island, folder, groups), recipe_of(None, apt), apt, folder / "rootfs-1")
    finally:
        island.close()
        groups.remove()
    return folder / "rootfs-1"


@contextlib.contextmanager
def night(place: Path, rootfs: Path | str, around: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Run a night that has begun; `around` starts it."""
    command = [*around, sys.executable, str(NIGHT), str(place), str(rootfs)]
    environment = {**os.environ, MARK: str(place)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            assert said(process) == "begun"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next word of a night."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def processes(place: Path) -> dict[int, str]:
    """Return the processes of nights in `place`: those that inherited its mark, and those in its control groups."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            signs = folder.joinpath("environ").read_bytes() + folder.joinpath("cgroup").read_bytes()
            if f"{MARK}={place}\0".encode() in signs or prefix_of(place).encode() in signs:
                found[int(folder.name)] = folder.joinpath("cmdline").read_text("utf-8", "replace").replace("\0", " ")
    return found


def is_running(place: Path, words: str) -> bool:
    """Return whether a process of the night has these words in its command line."""
    return any(words in command for command in processes(place).values())


def traces(place: Path) -> set[str]:
    """Return what this machine has of a night's network and mounts, seen from outside."""
    mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    links = [f"link {path.name}" for path in Path("/sys/class/net").iterdir() if path.name.startswith(LINKS)]
    named = [f"netns {path.name}" for path in Path("/run/netns").glob("server*")]
    return {line for line in mounts if str(place) in line or "clarion-island" in line} | {*links, *named}


LINKS = ("cable", "servers")


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_nothing_is_left(place: Path) -> None:
    """Check that only files and empty control groups are left, and that the next sweep takes those."""
    until(lambda: not processes(place), GONE_WITHIN)
    assert traces(place) == set()
    swept = sweep(place)
    assert f"folder {place / 'acme-night'}" in swept
    assert list(place.iterdir()) == []
    assert sweep(place) == []
    groups = [path for top in Path("/sys/fs/cgroup").iterdir() for path in top.glob(f"**/{prefix_of(place)}*")]
    assert groups == []


@pytest.mark.parametrize("phase", ["apt-get update", "dpkg --install", "--unpack"])
def test_killed_while_a_root_file_system_is_built_nothing_goes_on(tmp_path: Path, phase: str) -> None:
    """Neither mmdebstrap nor apt nor dpkg outlives the night."""
    place = tmp_path / "place"
    with night(place, "-") as process:
        until(lambda: is_running(place, phase))
        process.kill()
        process.wait()
        assert_nothing_is_left(place)


@pytest.mark.parametrize("phase", ["sleep 2", "--private-network", "systemd-journald", "running"])
def test_killed_while_a_server_is_made_nothing_goes_on(tmp_path: Path, rootfs: Path, phase: str) -> None:
    """In the setup script with a daemon, while it boots, and when it is up, with a program beside it.

    A sweep takes what belongs to the server's own users, too.
    """
    place = tmp_path / "place"
    with night(place, rootfs) as process:
        if phase == "running":
            assert said(process) == "running"
            assert is_running(place, "sleep 1002")
        else:
            until(lambda: is_running(place, phase))
        process.kill()
        process.wait()
        (closed,) = place.glob("acme-night/[0-9]/disk/srv/closed")
        assert closed.stat().st_uid == Users().first
        assert_nothing_is_left(place)


@pytest.fixture
def unit() -> Iterator[str]:
    """Give the name of a control group for a night, as systemd makes one for a unit and removes it afterwards."""
    name = f"clarion-nightly-{os.getpid()}.service"
    yield name
    for group in [path for top in Path("/sys/fs/cgroup").iterdir() for path in top.glob(name)]:
        group.rmdir()


def test_in_a_unit_with_cgroups_of_version_2_it_is_the_same(tmp_path: Path, rootfs: Path, unit: str) -> None:
    """Its servers lie in the unit's own group; killed, it leaves no more than elsewhere."""
    place = tmp_path / "place"
    with night(place, rootfs, ["unshare", "--mount", "sh", "-ec", IN_A_UNIT, "sh", unit]) as process:
        assert said(process) == "running"
        found = [Path(f"/proc/{pid}/cgroup").read_text("utf-8") for pid in processes(place)]
        assert all(f"0::/{unit}" in groups for groups in found)
        assert any(groups.strip().endswith("payload/init.scope") for groups in found)
        process.kill()
        process.wait()
        assert_nothing_is_left(place)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
@pytest.mark.parametrize("phase", ["sleep 2", "systemd-journald"])
def test_told_to_stop_it_takes_all_away_itself(
    tmp_path: Path, rootfs: Path, number: signal.Signals, phase: str
) -> None:
    """Also when the whole group of the terminal is told: not even a folder is left."""
    place = tmp_path / "place"
    with night(place, rootfs) as process:
        until(lambda: is_running(place, phase))
        os.killpg(process.pid, number)
        assert said(process) in {"it was told to stop", "somebody pressed Ctrl-C"}
        assert process.wait(20) == 0
        assert processes(place) == {}
        assert traces(place) == set()
        assert list(place.iterdir()) == []
        assert sweep(place) == []


def test_a_night_that_is_not_killed_would_be_seen(tmp_path: Path, rootfs: Path) -> None:
    """Negative control: the same looks find a living night's processes, and no sweep takes it."""
    place = tmp_path / "place"
    with night(place, rootfs) as process:
        assert said(process) == "running"
        found = processes(place)
        assert len(found) > 5
        assert any("systemd-nspawn" in command for command in found.values())
        assert sweep(place) == []
        assert process.poll() is None
        with pytest.raises(AssertionError):
            until(lambda: not processes(place), 1)
    assert_nothing_is_left(place)
