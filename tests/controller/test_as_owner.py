"""What root does in a home that belongs to another user: nothing that this user could not have done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_controller.as_owner import as_owner_of
from clarion_controller.durable_files import make_folder
from clarion_controller.fleet_toml.roles import Integration
from clarion_controller.integration import source_of
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.lock import only_one_night
from clarion_controller.nightly.report import Report
from clarion_protocol.errors import BadConfig, HostError

NOBODY = 65_534
NIGHT = Report(night="2026-11-22", began=0.0, ended=60.0)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has more rights than others")


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that everybody comes by, with `home` for nobody and `roots` for root alone."""
    with tempfile.TemporaryDirectory(prefix="clarion-owner-") as name:
        place = Path(name)
        place.chmod(0o755)
        for folder in ("home", "roots", "home/state"):
            (place / folder).mkdir(mode=0o755)
        for folder in ("home", "home/state"):
            os.chown(place / folder, NOBODY, NOBODY)
        yield place


def test_root_is_the_owner_only_within(place: Path) -> None:
    """What it makes there belongs to the owner, what it makes afterwards to itself."""
    with as_owner_of(place / "home"):
        (place / "home" / "a").touch()
        with pytest.raises(PermissionError):
            (place / "roots" / "a").touch()
    (place / "roots" / "b").touch()
    assert ((place / "home" / "a").stat().st_uid, (place / "roots" / "b").stat().st_uid) == (NOBODY, 0)


def test_root_in_its_own_folder_is_root(place: Path) -> None:
    """Also where the folder is a link's end."""
    with as_owner_of(place / "roots"):
        (place / "home" / "a").touch()
    assert (place / "home" / "a").stat().st_uid == 0


def test_what_a_group_of_roots_may_read_is_not_the_owners(place: Path) -> None:
    """Who came by sudo is in the group of root, which may read /etc/sudoers."""
    (place / "secret").touch(0o640)
    before = os.getgroups()
    os.setgroups([0])
    try:
        with as_owner_of(place / "home"), pytest.raises(PermissionError):
            (place / "secret").read_text()
        assert (place / "secret").read_text() == ""
    finally:
        os.setgroups(before)


@pytest.mark.parametrize("end", ["secret", "pipe"])
def test_a_program_of_an_integration_is_the_owners(place: Path, end: str) -> None:
    """A night of root's puts it on servers, where the owner's own apps read it."""
    (place / "secret").write_text("for root")
    (place / "secret").chmod(0o600)
    os.mkfifo(place / "pipe")
    (place / "home" / "check").symlink_to(place / end)
    integration = Integration(name="all is well", from_="web", to="db", exec="check")
    with pytest.raises(BadConfig, match=r"check of an integration cannot be read"):
        source_of(integration, ["192.0.2.1"], place / "home")


def test_a_report_and_the_lock_belong_to_the_owner(place: Path) -> None:
    """The controller's user reads what a night of root's wrote."""
    reports = Reports(place / "home")
    reports.make_folder()
    with only_one_night(reports.folder):
        reports.write(NIGHT)
    assert {path.stat().st_uid for path in (reports.folder, *reports.folder.iterdir())} == {NOBODY}
    assert reports.last() == NIGHT


def test_a_folder_of_reports_that_leads_elsewhere_is_not_written_to(place: Path) -> None:
    """Neither a report nor a lock of root's appears there, and nothing there is removed or read."""
    old = place / "roots" / "1970-01-01.json"
    old.write_text("{}")
    old.chmod(0o600)
    reports = Reports(place / "home")
    reports.folder.symlink_to(place / "roots")
    with pytest.raises(HostError):
        reports.write(NIGHT)
    with pytest.raises(HostError):
        reports.prune(before=1e9)
    with pytest.raises(HostError), only_one_night(reports.folder):
        pass
    assert [*reports.readable()] == []
    assert [path.name for path in (place / "roots").iterdir()] == ["1970-01-01.json"]


def test_a_new_folder_that_is_replaced_by_a_link_at_once_gives_nothing_away(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the owner of the folder above is: what the link leads to stays root's."""
    plain = Path.mkdir

    def raced(path: Path, mode: int = 0o777, *, exist_ok: bool = False) -> None:
        plain(path, mode, exist_ok=exist_ok)
        path.rmdir()
        path.symlink_to(place / "roots")

    monkeypatch.setattr(Path, "mkdir", raced)
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        make_folder(place / "home" / "keys", 0o777)
    found = (place / "roots").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o755)
