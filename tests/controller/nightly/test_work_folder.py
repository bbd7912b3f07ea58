"""The folder of a night, and those that nights left: taken away whole, or somebody is told why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.nobody import NOBODY, as_nobody

from clarion_controller.nightly.work_folder import sweep_folders, work_folder

CLUSTER = "0123456789abcdef" * 2
HOLD = """\
import sys
from clarion_controller.nightly.work_folder import work_folder
with work_folder(sys.argv[1]) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have nights work below `tmp_path`."""
    place = tmp_path / "tmp"
    place.mkdir(mode=0o777)
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def left_behind() -> Path:
    """Return the folder of a night that was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as night:
        assert night.stdout
        path = Path(night.stdout.readline().strip())
        night.kill()
    return path


def test_a_night_takes_its_folder_away_with_what_is_in_it(place: Path) -> None:
    """Also what may not be written to, as builds leave it."""
    with work_folder(CLUSTER) as work:
        (work / "modules" / "deep").mkdir(parents=True)
        (work / "modules" / "deep" / "file").touch(0o400)
        (work / "modules").chmod(0o500)
    assert list(place.iterdir()) == []


def test_the_folder_of_a_night_that_was_killed_is_swept(place: Path) -> None:
    """And of another cluster, nothing."""
    path = left_behind()
    (path / "file").touch()
    assert sweep_folders("f" * 32).gone == []
    swept = sweep_folders(CLUSTER)
    assert (swept.gone, swept.troubles) == ([f"folder {path}"], [])
    assert list(place.iterdir()) == []


def test_the_folder_of_a_night_that_lives_is_left_alone() -> None:
    """A copy of the home on this machine has the same cluster, and another lock."""
    with work_folder(CLUSTER) as work:
        swept = sweep_folders(CLUSTER)
        assert (swept.gone, swept.troubles) == ([], [])
        assert work.is_dir()


@pytest.fixture
def mounted() -> Iterator[tuple[Path, Path]]:
    """Give a folder that a night left, and in it what is mounted there with a file of somebody's."""
    path = left_behind()
    inside = path / "mounted"
    inside.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(inside)], check=True, timeout=10)
    (inside / "file").touch()
    yield path, inside
    subprocess.run(["umount", str(inside)], check=True, timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_what_is_mounted_there_is_not_emptied_and_it_is_said(mounted: tuple[Path, Path]) -> None:
    """A folder that is still there is not called gone."""
    path, inside = mounted
    swept = sweep_folders(CLUSTER)
    assert swept.gone == []
    [trouble] = swept.troubles
    assert trouble.startswith(f"{path} cannot be removed: ")
    assert f"findmnt -R {path}" in trouble
    assert (inside / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_read_only_folders_do_not_stop_who_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go leaves its modules so, and whoever only rebuilds needs no root."""
    # Not below tmp_path, where nobody comes.
    with TemporaryDirectory() as folder:
        place = Path(folder)
        monkeypatch.setenv("TMPDIR", folder)
        path = place / f"clarion-nightly-{CLUSTER[:12]}-x"
        (path / "modules").mkdir(parents=True)
        (path / "modules" / "file").touch()
        (path / "modules").chmod(0o500)
        for each in (place, path, path / "modules", path / "modules" / "file"):
            os.chown(each, NOBODY, NOBODY)
        with as_nobody():
            swept = sweep_folders(CLUSTER)
        assert swept.gone == [f"folder {path}"], swept.troubles
        assert list(place.iterdir()) == []
