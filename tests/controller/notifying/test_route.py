"""Which channels get a notice."""

from __future__ import annotations

from typing import Any

import pytest

from clarion_controller.fleet_toml.channels import Channel, Slack
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifying.route import route


def channel(name: str = "chat", **filters: Any) -> Channel:
    """Return a channel with filters."""
    return Channel(name=name, slack=Slack(url=Secret("env:URL")), **filters)


def notice(**fields: Any) -> Notice:
    """Return a notice of a failed deployment to production, or of something else."""
    told = {"kind": Kind.DEPLOYMENT_FAILED, "severity": Severity.ERROR, "environment": "production", **fields}
    return Notice(**{"id": "1", "incident": "deployment-1", "title": "", "since": 0.0, "at": 0.0, **told})


BUILD = notice(kind=Kind.BUILD_BROKEN, severity=Severity.WARNING, environment="")


@pytest.mark.parametrize(
    ("filters", "told", "gets_it"),
    [
        pytest.param({}, notice(), True, id="without filters, everything"),
        pytest.param({"environments": ("production",)}, notice(), True, id="its environment"),
        pytest.param({"environments": ("staging",)}, notice(), False, id="another environment"),
        pytest.param({"environments": ("staging",)}, BUILD, True, id="what concerns no environment"),
        pytest.param({"kinds": (Kind.DEPLOYMENT_FAILED,)}, notice(), True, id="its kind"),
        pytest.param({"kinds": (Kind.AGENT_LOST,)}, notice(), False, id="another kind"),
        pytest.param({"min_severity": Severity.ERROR}, notice(), True, id="just urgent enough"),
        pytest.param({"min_severity": Severity.CRITICAL}, notice(), False, id="not urgent enough"),
        pytest.param(
            {"environments": ("production",), "kinds": (Kind.AGENT_LOST,)}, notice(), False, id="only one fits"
        ),
    ],
)
def test_a_channel_gets_what_fits_all_of_its_filters(filters: dict[str, Any], told: Notice, *, gets_it: bool) -> None:
    """Environment, kind and severity."""
    assert route(told, [channel(**filters)], ()) == (["chat"] if gets_it else [])


def test_whoever_was_told_that_it_broke_is_told_that_it_is_well_again() -> None:
    """A pager for errors gets the end, which is only information; who never heard of it does not."""
    good = notice(kind=Kind.DEPLOYMENT_SUCCEEDED, severity=Severity.INFO, resolves=True)
    channels = [channel(name, min_severity=Severity.ERROR) for name in ("pager", "other")]
    assert route(good, channels, {"pager", "gone"}) == ["pager"]


def test_what_goes_on_within_an_incident_is_filtered_like_everything() -> None:
    """That one of three is back wakes nobody."""
    part = notice(kind=Kind.AGENT_BACK, severity=Severity.INFO)
    assert route(part, [channel(min_severity=Severity.ERROR)], {"chat"}) == []


def test_what_is_late_or_only_not_watched_any_more_is_news_to_whoever_waits_for_an_end_alone() -> None:
    """An end that nobody hears would leave an alert open for ever; anything else would be history."""
    channels = [channel(), channel("pager", min_severity=Severity.ERROR)]
    good = notice(kind=Kind.BUILD_REPAIRED, severity=Severity.INFO, resolves=True)
    assert route(good, channels, {"pager"}, is_late=True) == ["pager"]
    assert route(notice(), channels, {"pager"}, is_late=True) == []
    gone = notice(kind=Kind.WITHDRAWN, severity=Severity.INFO, resolves=True)
    assert route(gone, channels, {"pager"}) == ["pager"]


@pytest.mark.parametrize(
    ("told", "is_opening"),
    [
        pytest.param(notice(), True, id="a failure"),
        pytest.param(notice(resolves=True), False, id="an end"),
        pytest.param(notice(severity=Severity.INFO), False, id="a success that ends nothing"),
        pytest.param(notice(severity=Severity.WARNING, incident=""), False, id="what somebody did, and went well"),
    ],
)
def test_what_is_wrong_opens_an_incident(told: Notice, *, is_opening: bool) -> None:
    """Its end is told to the same people."""
    assert told.opens is is_opening
