"""Whoever broke a build is named, as far as that can be known."""

from __future__ import annotations

from collections.abc import Mapping

from clarion_controller.nightly.blame import Baseline, blamed
from clarion_protocol.errors import BuildFailed

BEFORE = Baseline("the night of 2026-11-20", {"greeting": "1.0", "left-pad": "1.3.0"})
FAILED = BuildFailed('"make" failed with exit code 2:\n$ make\nerror: of make itself\nerror: "make" failed with')


def test_a_dependency_that_moved_is_named_first() -> None:
    """With what failed behind it, and since when it counts below."""
    blame = blamed(FAILED, BEFORE, lambda: {"greeting": "1.1", "left-pad": "1.3.0"})
    assert blame.reason == 'greeting 1.0 -> 1.1: "make" failed with exit code 2'
    assert blame.findings == ("moved since the night of 2026-11-20: greeting 1.0 -> 1.1",)


def test_of_many_only_the_first_are_named_in_the_reason() -> None:
    """The others are findings."""
    blame = blamed(FAILED, Baseline("it was published", {}), lambda: {f"d{n}": "1" for n in range(9)})
    assert blame.reason == 'd0 1 is new, d1 1 is new, d2 1 is new and 6 more: "make" failed with exit code 2'
    assert len(blame.findings) == 9


def test_where_nothing_moved_that_is_said() -> None:
    """Then it is this machine, or the network, or the hour."""
    blame = blamed(FAILED, BEFORE, lambda: BEFORE.dependencies)
    assert blame.reason == '"make" failed with exit code 2'
    assert blame.findings == ("no dependency has moved since the night of 2026-11-20",)


def test_where_nothing_can_be_packed_the_log_is_asked() -> None:
    """A dependency that is gone cannot be installed, but the log speaks of it."""

    def fails() -> Mapping[str, str]:
        raise BuildFailed("the build failed")

    failed = BuildFailed("the build failed:\nERROR: No matching distribution found for greeting>=1, not left-padding")
    blame = blamed(failed, BEFORE, fails)
    assert blame.reason == "the build failed"
    assert blame.findings == ("the log speaks of greeting; the night of 2026-11-20 had 1.0",)
