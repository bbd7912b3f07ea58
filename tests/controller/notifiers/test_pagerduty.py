"""PagerDuty, against a double that takes only what its Events API v2 takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.notifiers.fake_pagerduty import KEY, FakePagerDuty, check_event
from tests.controller.notifiers.listening import a_notice, answer, listening

from clarion_controller.notice import Kind, Notice, Severity, Undelivered
from clarion_controller.notifiers.pagerduty import PagerDutyNotifier, event_of


def told(*notices: Notice) -> FakePagerDuty:
    """Return the double after it was told."""
    pagerduty = FakePagerDuty()
    with listening(pagerduty) as listener:
        for notice in notices:
            PagerDutyNotifier(KEY, f"{listener.url}/v2/enqueue", "main").send(notice)
    assert not pagerduty.complaints
    return pagerduty


def test_a_notice_pages_somebody() -> None:
    """With all that is known of it."""
    pagerduty = told(a_notice())
    (event,) = pagerduty.events
    payload = event["payload"]
    assert payload["summary"].startswith("shop 1.4.2 failed in production: 2 hosts failed")
    assert (payload["severity"], payload["component"], payload["group"]) == ("error", "shop", "production")
    assert (payload["class"], payload["timestamp"]) == ("deployment_failed", "2027-01-15T08:00:42.000+00:00")
    assert payload["custom_details"]["next_command"] == "clarion logs 3f9c2a11"
    assert payload["custom_details"]["affected"] == "web-2, web-3"


def test_what_is_well_again_is_resolved() -> None:
    """By the same key, whatever else the two say; another incident stays open."""
    failed, other = a_notice(), a_notice(id="2", incident="host/db-1", affected=("db-1",))
    pagerduty = told(failed, failed, other, a_notice(id="3", resolves=True, title="repaired"))
    assert pagerduty.open == ["main/host/db-1"]
    assert pagerduty.events[2]["payload"]["source"] == "db-1"


def test_clusters_do_not_resolve_each_other() -> None:
    """Two of them may share a service of PagerDuty's."""
    assert event_of(a_notice(), "main")["dedup_key"] != event_of(a_notice(), "other")["dedup_key"]


def test_a_test_leaves_nobody_paged() -> None:
    """It is triggered, and resolved at once."""
    pagerduty = told(a_notice(kind=Kind.TEST, severity=Severity.INFO))
    assert [event["event_action"] for event in pagerduty.events] == ["trigger", "resolve"]
    assert not pagerduty.open


def test_what_only_informs_pages_nobody() -> None:
    """A deployment that succeeded is no incident, and nothing would resolve it."""
    assert not told(a_notice(kind=Kind.DEPLOYMENT_SUCCEEDED, severity=Severity.INFO)).events


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 3000))
def test_whatever_is_said_fits(text: str, times: int) -> None:
    """Any text, of any length, in any field, is an event that PagerDuty takes."""
    long = text * times
    notice = a_notice(title=long, reason=long, app=text, environment=text, affected=(long,) * 60, incident=long)
    check_event({"routing_key": KEY, **event_of(notice, text)})


def test_every_kind_is_an_event() -> None:
    """Also with as little as a notice may say."""
    for kind in Kind:
        bare = Notice(id="1", kind=kind, severity=Severity.INFO, incident="x", title="", since=0.0, at=0.0)
        check_event({"routing_key": KEY, **event_of(bare, "")})


def test_a_refusal_is_final_and_patience_is_not() -> None:
    """And the key is in neither."""
    with listening(answer(400, f'{{"errors":["{KEY} is wrong"]}}'), answer(429)) as listener:
        notifier = PagerDutyNotifier(KEY, listener.url, "main")
        for is_final in (True, False):
            with pytest.raises(Undelivered) as caught:
                notifier.send(a_notice())
            assert caught.value.is_final is is_final
            assert KEY not in f"{caught.value.reason}{notifier!r}"


@pytest.mark.parametrize(
    "change",
    [{"routing_key": "short"}, {"dedup_key": ""}, {"payload": {}}, {"event_action": "page"}, {"severity": "error"}],
    ids=str,
)
def test_the_double_refuses_what_pagerduty_refuses(change: dict[str, object]) -> None:
    """Otherwise it would prove nothing."""
    with pytest.raises((AssertionError, KeyError)):
        check_event({"routing_key": KEY, **event_of(a_notice(), "main"), **change})
