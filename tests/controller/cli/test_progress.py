"""What is seen of a rollout, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from clarion_controller.api.answers import DeploymentAnswer
from clarion_controller.cli.progress import Picture, changes
from clarion_protocol.words import DeploymentStatus, HostStatus

from .conftest import progress


def drawn(state: DeploymentAnswer) -> str:
    """Return what a terminal of 80 columns shows."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(Picture(state))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_small_fleet_has_a_line_for_each_host() -> None:
    """With its mark, name, status and reason."""
    state = progress(
        DeploymentStatus.RUNNING, HostStatus.COMMITTED, HostStatus.ROLLED_BACK, HostStatus.CHECKING, reason_2="503"
    )
    lines = drawn(state).splitlines()
    assert lines[0].split() == ["✓", "web-1", "committed"]
    assert lines[1].split() == ["↩", "web-2", "rolled", "back", "503"]
    assert lines[2].split()[1:] == ["web-3", "checking"]
    assert "running for" in lines[3]


def test_a_large_fleet_is_counted() -> None:
    """A bar, the counts, and the first hosts that need somebody."""
    state = progress(DeploymentStatus.RUNNING, *[HostStatus.COMMITTED] * 75, *[HostStatus.FAILED] * 25)
    text = drawn(state)
    assert "75 %" in text
    assert "25 failed" in text
    assert "of 100 hosts" in text
    assert "and 15 more" in text
    assert len(text.splitlines()) < 20


def test_no_line_is_longer_than_the_terminal_whatever_a_host_says() -> None:
    """A reason from a host is cut, never wrapped over the picture."""
    state = progress(DeploymentStatus.RUNNING, HostStatus.FAILED, reason_1="x y " * 300)
    assert len(drawn(state).splitlines()) == 2


def test_a_deployment_that_is_over_needs_no_line_of_its_own() -> None:
    """The sentence that follows says how it ended."""
    state = progress(DeploymentStatus.SUCCEEDED, HostStatus.COMMITTED)
    assert len(drawn(state).splitlines()) == 1


def test_elsewhere_there_is_a_line_for_each_change_and_none_without() -> None:
    """A log of a deployment stays readable."""
    first = progress(DeploymentStatus.RUNNING, HostStatus.PENDING, HostStatus.PENDING)
    second = progress(DeploymentStatus.RUNNING, HostStatus.STAGED, HostStatus.PENDING)
    assert len(list(changes(None, first))) == 1
    assert list(changes(first, first)) == []
    (line,) = changes(first, second)
    assert line.split()[1:] == ["web-1", "staged"]
