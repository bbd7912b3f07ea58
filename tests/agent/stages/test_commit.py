"""Which releases are kept."""

from __future__ import annotations

import pytest

from clarion_agent.app_folder import ReleaseRecord
from clarion_agent.stages.commit import removable
from clarion_protocol.documents import ReleaseRef


def installed(*releases: str) -> list[ReleaseRecord]:
    """Return records of releases; "3!" was never committed."""
    return [ReleaseRecord(ReleaseRef("v", int(each.strip("!")), "0" * 64), not each.endswith("!")) for each in releases]


@pytest.mark.parametrize(
    ("releases", "running", "before", "keep", "gone"),
    [
        pytest.param(["1", "2", "3"], "3-v", "2-v", 2, ["1-v"], id="the oldest goes"),
        pytest.param(["1", "2", "3"], "3-v", "2-v", 5, [], id="there is room for all"),
        pytest.param(["1", "2!", "3!", "4"], "4-v", None, 2, ["2-v", "3-v"], id="the last good one stays"),
        pytest.param(["1", "2", "3"], "1-v", "3-v", 2, ["2-v"], id="after a rollback, what ran before stays"),
        pytest.param(["1", "2", "3", "4"], "2-v", "1-v", 2, ["3-v"], id="the newest good one besides what runs stays"),
        pytest.param(["1"], "1-v", None, 2, [], id="the first release"),
    ],
)
def test_what_is_removed(releases: list[str], running: str, before: str | None, keep: int, gone: list[str]) -> None:
    """Never what runs or ran before, never the last good one."""
    assert [record.id for record in removable(installed(*releases), running, before, keep)] == gone
