"""An app's folder: what is there, and what only looks as if it were."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_agent.app_folder import AppFolder, ReleaseRecord
from clarion_protocol.documents import ReleaseRef
from clarion_protocol.errors import BadConfig

ONE = ReleaseRef("1.0.0", 1, "1" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> AppFolder:
    """Return a folder with one release, which is the current one."""
    folder = AppFolder(tmp_path / "shop")
    folder.prepare()
    folder.release_folder("1-1.0.0").mkdir()
    folder.save_record(ReleaseRecord(ONE))
    folder.point_to("1-1.0.0")
    return folder


def test_a_release_is_known_by_all_that_names_it(folder: AppFolder) -> None:
    """The same number with other bytes is another release."""
    assert folder.has(ONE)
    assert not folder.has(ReleaseRef("1.0.0", 1, "2" * 64))
    assert not folder.has(ReleaseRef("1.0.0", 2, "1" * 64))


def test_a_release_without_its_record_is_not_believed(folder: AppFolder) -> None:
    """Nor is a record without its release."""
    folder.save_record(ReleaseRecord(ReleaseRef("2.0.0", 2, "2" * 64)))
    folder.release_folder("3-3.0.0").mkdir()

    assert [record.id for record in folder.installed()] == ["1-1.0.0"]


def test_a_link_to_nothing_is_no_current_release(folder: AppFolder) -> None:
    """What is gone does not run."""
    assert folder.current() == "1-1.0.0"
    folder.point_to("2-2.0.0")
    assert folder.current() is None


def test_a_release_without_a_readable_clarion_toml_is_an_error_with_a_way_on(folder: AppFolder) -> None:
    """It names the file."""
    with pytest.raises(BadConfig, match=r"clarion\.toml") as caught:
        folder.config_of("1-1.0.0")
    assert "clarion build" in (caught.value.hint or "")


def test_sweeping_leaves_releases_alone(folder: AppFolder) -> None:
    """Only what was on its way in or out goes."""
    (folder.staging / "half").mkdir()
    (folder.trash / "old").mkdir()
    (folder.state / "journal.json.tmp").touch()
    (folder.root / "current.tmp").symlink_to("releases/9")

    folder.sweep()

    assert list(folder.staging.iterdir()) == list(folder.trash.iterdir()) == []
    assert sorted(path.name for path in folder.root.iterdir()) == ["current", "releases", "staging", "state", "trash"]
    assert folder.current() == "1-1.0.0"
