"""From events to what a forge is told."""

from __future__ import annotations

import msgspec
import pytest
from tests.controller.cli.conftest import a_deployment

from clarion_controller.api.answers import PlanRequest
from clarion_controller.builds.build import BuildStatus
from clarion_controller.forges.derive import VERSIONS, ForgeState, derive
from clarion_controller.forges.report import ForgeReport, Outcome
from clarion_controller.state.events import (
    AnyEvent,
    BuildFinished,
    BuildStarted,
    DeploymentAccepted,
    Halted,
    StatusChanged,
)
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus

COMMIT = "6dcb09b5b57875f334f61aebed695e2e4193db5e"


def started(commit: str = COMMIT) -> BuildStarted:
    """Return the beginning of a build."""
    return BuildStarted(at=5.0, build="b1", repository="shop", app="shop", ref="refs/heads/main", commit=commit)


def finished(
    status: BuildStatus = BuildStatus.SUCCEEDED, version: str = "1.1.0", commit: str = COMMIT
) -> BuildFinished:
    """Return the end of a build."""
    known = {"build": "b1", "repository": "shop", "app": "shop", "ref": "refs/heads/main", "commit": commit}
    return BuildFinished(at=9.0, status=status.value, version=version, **known)


def document(version: str = "1.1.0", app: str = "shop") -> Deployment:
    """Return a deployment of a version."""
    return a_deployment(PlanRequest(app=app, environment="production", version=version))


def told(*events: AnyEvent, deployment: Deployment | None = None) -> list[ForgeReport]:
    """Return everything that is told of events one after the other."""
    state, reports = ForgeState(), []
    for seq, event in enumerate(events, start=1):
        state, more = derive(state, seq, event, deployment)
        reports += more
    return reports


ACCEPTED = DeploymentAccepted(at=10.0, stream="production/shop", digest="x", hosts={})


def changed(status: DeploymentStatus) -> StatusChanged:
    """Return a new status."""
    return StatusChanged(at=11.0, status=status, reason="because")


def test_a_build_is_told_from_its_beginning_to_its_end() -> None:
    """On its commit, each with an id of its own."""
    first, last = told(started(), finished())
    assert (first.outcome, first.commit, first.ref, first.environment) == (
        Outcome.PENDING,
        COMMIT,
        "refs/heads/main",
        "",
    )
    assert (last.outcome, last.description) == (Outcome.SUCCESS, "shop 1.1.0 is published")
    assert first.id != last.id
    assert {first.repository, last.repository} == {"shop"}


ENDS = {
    BuildStatus.SUCCEEDED: Outcome.SUCCESS,
    BuildStatus.FAILED: Outcome.FAILURE,
    BuildStatus.CANCELLED: Outcome.ERROR,
    BuildStatus.SUPERSEDED: Outcome.ERROR,
}


@pytest.mark.parametrize("status", [each for each in BuildStatus if each.is_final])
def test_every_end_of_a_build_has_its_outcome(status: BuildStatus) -> None:
    """And says something."""
    (report,) = told(finished(status, version=""))
    assert report.outcome is ENDS[status]
    assert report.description


@pytest.mark.parametrize("commit", ["", "main", "../x", "6dcb09b", COMMIT + "\n"])
def test_nothing_is_told_about_what_is_no_commit(commit: str) -> None:
    """It would become a part of an address."""
    assert not told(started(commit), finished(commit=commit), ACCEPTED, deployment=document())


def test_a_deployment_of_what_a_build_made_is_told() -> None:
    """By its environment and our id, on the commit it was made of."""
    build = finished()
    _, begun, done = told(build, ACCEPTED, changed(DeploymentStatus.SUCCEEDED), deployment=document())
    assert (begun.outcome, done.outcome) == (Outcome.PENDING, Outcome.SUCCESS)
    assert {each.commit for each in (begun, done)} == {COMMIT}
    assert {(each.environment, each.deployment) for each in (begun, done)} == {("production", "d" * 32)}
    assert "because" in done.description


def test_a_deployment_that_begins_before_its_build_is_over_is_told_from_its_beginning() -> None:
    """A green build is deployed at once, and over when that was ordered."""
    version = COMMIT[:12]
    build, end = started(), changed(DeploymentStatus.SUCCEEDED)
    reports = told(build, ACCEPTED, finished(version=version), end, deployment=document(version))
    assert [(each.environment, each.outcome) for each in reports] == [
        ("", Outcome.PENDING),
        ("production", Outcome.PENDING),
        ("", Outcome.SUCCESS),
        ("production", Outcome.SUCCESS),
    ]


def test_a_tag_that_is_built_again_leaves_its_version_where_it_was_made() -> None:
    """What is red made nothing, and a tag is not deployed by itself."""
    moved = msgspec.structs.replace(started("7" * 40), ref="refs/tags/v1.1.0")
    *_, report = told(finished(), moved, changed(DeploymentStatus.SUCCEEDED), deployment=document())
    assert report.commit == COMMIT


@pytest.mark.parametrize("status", list(DeploymentStatus))
def test_every_end_of_a_deployment_is_told_and_nothing_between(status: DeploymentStatus) -> None:
    """A forge knows no pause."""
    reports = told(finished(), changed(status), deployment=document())
    assert len(reports) == 1 + status.is_final


def test_what_no_build_made_concerns_no_forge() -> None:
    """Another version, another app, an event of no deployment or of no interest."""
    for other in (document("9.9.9"), document(app="other")):
        assert not told(finished(), ACCEPTED, changed(DeploymentStatus.FAILED), deployment=other)[1:]
    assert not told(finished(), ACCEPTED)[1:]
    assert not told(finished(), Halted(at=1.0, reason="x"), deployment=document())[1:]


@pytest.mark.parametrize("status", [BuildStatus.FAILED, BuildStatus.SUPERSEDED])
def test_a_build_that_failed_made_nothing(status: BuildStatus) -> None:
    """Whatever version it names."""
    assert len(told(finished(status), ACCEPTED, deployment=document())) == 1


def test_what_is_remembered_is_bounded_and_the_newest() -> None:
    """For each app by itself; a version that is built again counts as new."""
    state = ForgeState()
    for number in range(2 * VERSIONS):
        state, _ = derive(state, number, finished(version=f"1.{number}"), None)
        state, _ = derive(state, number, finished(version="1.0"), None)
    known = list(state.origins["shop"])
    assert len(known) == VERSIONS
    assert known[-2:] == [f"1.{2 * VERSIONS - 1}", "1.0"]


def test_the_state_survives_a_restart() -> None:
    """As JSON, and deriving changes no state that somebody holds."""
    before = ForgeState()
    after, _ = derive(before, 1, finished(), None)
    assert before == ForgeState()
    assert msgspec.json.decode(msgspec.json.encode(after), type=ForgeState) == after
