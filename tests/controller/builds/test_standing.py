"""Whether a green build is still to be deployed: each reason why not, and each that is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.controller.builds.pushing import MAIN, A, B

from clarion_controller.builds.build import Build, BuildStatus
from clarion_controller.builds.run_clarion import Outcome
from clarion_controller.builds.standing import (
    FIRST_PAUSE_S,
    GIVE_UP_AFTER_S,
    LONGEST_PAUSE_S,
    Known,
    Order,
    Standing,
    judge,
    pause_after,
    reason_of,
    verdict,
)
from clarion_controller.fleet_toml.repositories import Repository

WHY = "waits to be deployed to staging: inventory hosts.ini does not answer"
DAY_LATER = 1100.0 + GIVE_UP_AFTER_S
BUILD = Build(
    id="5" * 32, number=5, repository="shop", app="shop", ref=MAIN, commit=A, status=BuildStatus.SUCCEEDED, reason=WHY,
    version=A[:12], queued_at=1000.0, started_at=1001.0, finished_at=1100.0, waits_for="staging",
)  # fmt: skip
OLDER = replace(BUILD, id="4" * 32, number=4, commit=B, version=B[:12], waits_for="", queued_at=900.0)
NEWER = replace(OLDER, id="6" * 32, number=6, queued_at=1050.0)
SUPERSEDED = "superseded by build 66666666"
SHOP = Repository(url="/srv/shop.git", auto_deploy="staging")


def order(at: float = 1050.0, version: str = "1.0", actor: str = "ada@laptop", reason: str = "") -> Order:
    """Return what somebody ordered."""
    return Order(at, version, actor, reason)


def judged(build: Build = BUILD, **known: Any) -> Standing | None:
    """Return what is thought of a build's deployment; what is not given speaks neither for nor against it."""
    return judge(
        build, "staging", Known(**{"repository": SHOP, "builds": [BUILD, OLDER], "orders": [], "now": 1200.0, **known})
    )


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({}, id="nothing has happened"),
        pytest.param({"orders": [order(at=999.0)]}, id="somebody ordered another version before the push"),
        pytest.param({"orders": [order(version=B[:12], reason=reason_of(OLDER))]}, id="an older build came since"),
        pytest.param({"builds": [NEWER, BUILD]}, id="a newer build is not deployed there"),
        pytest.param({"builds": [replace(NEWER, waits_for="production"), BUILD]}, id="a newer one waits for another"),
        pytest.param({"builds": [replace(OLDER, deployed_to="staging"), BUILD]}, id="an older build is there"),
        pytest.param({"now": DAY_LATER}, id="a day is not over yet"),
        pytest.param({"now": 0.0}, id="the clock went back"),
    ],
)
def test_it_is_still_to_be_deployed(known: dict[str, Any]) -> None:
    """None of these is a reason to give it up."""
    assert judged(**known) is None


@pytest.mark.parametrize(
    ("known", "why"),
    [
        pytest.param(
            {"builds": [replace(NEWER, deployed_to="staging")]}, "superseded by build 66666666", id="newer there"
        ),
        pytest.param(
            {"builds": [replace(NEWER, waits_for="staging")]}, "superseded by build 66666666", id="newer waits"
        ),
        pytest.param(
            {"orders": [order()]}, "ada@laptop ordered 1.0 there since the push", id="somebody ordered another version"
        ),
        pytest.param(
            {"orders": [order(1060.0, "0.9", ""), order()]},
            "somebody ordered 0.9 there since the push",
            id="nobody knows who",
        ),
        pytest.param(
            {"orders": [order(1060.0, "0.9"), order(1050.0, A[:12])]},
            "ada@laptop ordered 0.9 there since the push",
            id="somebody ordered this one, and then went back",
        ),
        pytest.param(
            {"orders": [order(reason=reason_of(NEWER), actor="clarion@control")], "builds": [NEWER, BUILD]},
            "clarion@control ordered 1.0 there since the push",
            id="a newer build of which a crash forgot that it was deployed",
        ),
        pytest.param(
            {"repository": Repository(url="/srv/shop.git")},
            "fleet.toml does not say any more that main is deployed there",
            id="auto_deploy was removed",
        ),
        pytest.param(
            {"repository": replace(SHOP, auto_deploy="production")},
            "fleet.toml does not say any more that main is deployed there",
            id="auto_deploy names another environment",
        ),
        pytest.param(
            {"repository": replace(SHOP, auto_deploy_branch="trunk")},
            "fleet.toml does not say any more that main is deployed there",
            id="another branch is deployed",
        ),
        pytest.param(
            {"repository": None},
            "fleet.toml does not say any more that main is deployed there",
            id="the repository was removed",
        ),
        pytest.param({"now": DAY_LATER + 1}, f"after 1d of waiting given up; {WHY}", id="a day is over"),
    ],
)
def test_it_is_given_up(known: dict[str, Any], why: str) -> None:
    """And says why, in one sentence."""
    assert judged(**known) == Standing(f"not deployed to staging: {why}")


def test_what_was_ordered_for_it_is_its_deployment() -> None:
    """Whatever has happened since, also when a crash came before it was noted."""
    mine = order(version=A[:12], reason=reason_of(BUILD))
    assert judged(orders=[order(1060.0), mine], repository=None, now=DAY_LATER + 1) == Standing(deployed_to="staging")


def test_what_a_person_ordered_needs_no_second_order() -> None:
    """The same version, by hand: it is there, and on as many hosts as they wanted."""
    deployed = Standing("deployed to staging by ada@laptop", deployed_to="staging")
    assert judged(orders=[order(version=A[:12])]) == deployed


def test_a_build_that_has_just_ended_has_all_its_time() -> None:
    """It is not over yet when its deployment is ordered first."""
    assert judged(replace(BUILD, finished_at=None, waits_for=""), now=DAY_LATER * 2) is None


@pytest.mark.parametrize(
    ("code", "standing"),
    [
        (0, Standing(deployed_to="staging")),
        (5, Standing("waits to be deployed to staging: no answer", waits_for="staging")),
        (1, Standing("not deployed to staging: no answer")),
        (2, Standing("not deployed to staging: no answer")),
        (124, Standing("not deployed to staging: no answer")),
        (-9, Standing("not deployed to staging: no answer")),
    ],
)
def test_only_what_is_blocked_waits(code: int, standing: Standing) -> None:
    """By the exit code of 'clarion deploy'."""
    assert verdict("staging", Outcome(code, "a plan\nerror: no answer\n")) == standing


def test_an_endless_complaint_is_cut() -> None:
    """As short as the queue keeps it: otherwise it would be news, and in the log, at each try."""
    assert len(verdict("staging", Outcome(5, "error: " + "x" * 4000)).reason) < 1100


@given(st.floats(-1e9, 1e9))
def test_it_is_tried_with_patience(waited: float) -> None:
    """Twice as long after each try, within bounds, whatever the clock does."""
    assert FIRST_PAUSE_S <= pause_after(waited) <= LONGEST_PAUSE_S
    assert pause_after(120.0) == 120.0
