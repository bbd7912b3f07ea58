"""How a deployment ended, as sentence and exit code."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clarion_controller.cli.verdict import exit_code, next_step, sentence, trouble
from clarion_protocol.words import DeploymentStatus, ExitCode, HostStatus

from .conftest import progress

ENDS = [status for status in DeploymentStatus if status.is_final]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (DeploymentStatus.SUCCEEDED, ExitCode.COMMITTED),
        (DeploymentStatus.FAILED, ExitCode.FAILED),
        (DeploymentStatus.ABORTED, ExitCode.FAILED),
        (DeploymentStatus.SUPERSEDED, ExitCode.FAILED),
        (DeploymentStatus.DEGRADED, ExitCode.DEGRADED),
        (DeploymentStatus.ROLLED_BACK, ExitCode.ROLLED_BACK),
    ],
)
def test_each_end_has_its_exit_code(status: DeploymentStatus, code: ExitCode) -> None:
    """Scripts decide by it."""
    assert exit_code(progress(status, HostStatus.COMMITTED)) is code


@pytest.mark.parametrize("status", ENDS)
def test_each_end_is_one_sentence_that_counts_hosts(status: DeploymentStatus) -> None:
    """What, how many, where, how long."""
    text = sentence(progress(status, HostStatus.COMMITTED, HostStatus.FAILED))
    assert text.startswith("shop 1.1.0 ")
    assert "in production (1 of 2 hosts committed, after 12 s)" in text
    assert text.endswith(".")


def test_a_bad_end_says_why_and_what_to_run() -> None:
    """A good one needs neither."""
    bad = progress(DeploymentStatus.FAILED, HostStatus.FAILED)
    good = progress(DeploymentStatus.SUCCEEDED, HostStatus.COMMITTED)
    assert "because" in sentence(bad)
    assert "because" not in sentence(good)
    assert "clarion logs dddddddd" in str(next_step(bad))
    assert next_step(good) is None


def test_only_hosts_that_need_somebody_are_trouble() -> None:
    """Each with its reason."""
    deployment = progress(
        DeploymentStatus.DEGRADED,
        HostStatus.COMMITTED,
        HostStatus.UNREACHABLE,
        HostStatus.ROLLED_BACK,
        reason_2="not heard of for 2 min",
    )
    assert trouble(deployment) == ["web-2 is unreachable: not heard of for 2 min", "web-3 is rolled back"]


def test_a_host_that_was_called_off_is_shown_as_that() -> None:
    """Nobody looks for a defect in a host that did what it was told."""
    deployment = progress(DeploymentStatus.ABORTED, HostStatus.ROLLED_BACK)
    told = replace(deployment.hosts[0], error="host.interrupted", reason="aborted by ada; back on 1-1.0.0")
    assert trouble(replace(deployment, hosts=[told])) == [
        "web-1 went back in the middle of its switch: aborted by ada; back on 1-1.0.0"
    ]
