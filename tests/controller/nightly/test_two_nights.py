"""Nights and notices together: what breaks upstream is named by the night, and told once by mail, chat and pager.

Real are the controller, the git remote, the builds between walls, the program `clarion nightly`, the process that tells
people, and the SMTP server; Slack and PagerDuty are doubles that refuse what those refuse.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.controller.builds.hostile import needs_walls
from tests.controller.nightly.nights import Town, moment, town, write_wheel
from tests.controller.notifiers.fake_pagerduty import KEY, FakePagerDuty
from tests.controller.notifiers.fake_slack import FakeSlack
from tests.controller.notifiers.listening import listening
from tests.controller.notifiers.postbox import Postbox, serving

from clarion_controller.notifying.outbox import Outbox
from clarion_controller.notifying.overview import overview
from clarion_controller.notifying.tail import Tail

pytestmark = [needs_walls, pytest.mark.once, pytest.mark.timeout(240)]

# The command line, by a clock that is so many seconds off.
CLARION = """\
import sys, time
now, offset = time.time, float(sys.argv.pop(1))
time.time = lambda: now() + offset
from clarion_controller.cli import main
sys.exit(main())
"""
CHANNELS = """
[[notify]]
name = "team"
email = {{ to = ["ops@example.net"], sender = "clarion@example.net", host = "127.0.0.1", port = {port} }}
kinds = ["nightly_broken", "nightly_repaired"]

[[notify]]
name = "chat"
slack = {{ url = "env:SLACK_URL" }}
kinds = ["nightly_broken", "nightly_repaired"]

[[notify]]
name = "pager"
pagerduty = {{ routing_key = "env:PAGERDUTY_KEY", url = "{pagerduty}/v2/enqueue" }}
kinds = ["nightly_broken", "nightly_repaired"]
"""


@dataclass(frozen=True)
class People:
    """Who is told: what arrived by mail, on the chat, and at the pager."""

    postbox: Postbox
    slack: FakeSlack
    pagerduty: FakePagerDuty

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many mails, messages and events there were; nothing was ever refused."""
        assert self.slack.complaints == self.pagerduty.complaints == []
        return len(self.postbox.envelopes), len(self.slack.messages), len(self.pagerduty.events)

    @property
    def mail(self) -> str:
        """The last mail: its subject, and its text."""
        mail = self.postbox.mails[-1]
        return "\n".join([mail["Subject"], "", *mail.get_content().splitlines()])

    @property
    def message(self) -> str:
        """What a phone shows of the last message on the chat."""
        return str(self.slack.messages[-1]["text"])


@contextmanager
def people(patch: pytest.MonkeyPatch) -> Iterator[tuple[People, str]]:
    """Yield who is told, and the part of fleet.toml that says so."""
    told = People(Postbox(), FakeSlack(), FakePagerDuty())
    with ExitStack() as stack:
        port = stack.enter_context(serving(told.postbox))
        slack = stack.enter_context(listening(told.slack))
        pagerduty = stack.enter_context(listening(told.pagerduty))
        patch.setenv("SLACK_URL", f"{slack.url}/services/T0/B0/x")
        patch.setenv("PAGERDUTY_KEY", KEY)
        yield told, CHANNELS.format(port=port, pagerduty=pagerduty.url)


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tellers(home: Path) -> set[int]:
    """Return the processes that tell people of `home`: one, or none for a moment."""
    found = ((each.pid, each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"]))
    return {pid for pid, words in found if "clarion_controller.notifying.main" in words and str(home) in words}


def kill_teller(home: Path) -> None:
    """Kill who tells people, and wait until the controller has begun another."""
    (teller,) = tellers(home)
    os.kill(teller, signal.SIGKILL)
    until(lambda: bool(tellers(home) - {teller}))


def all_is_told(home: Path) -> bool:
    """Return whether the record was read to its end, and nothing waits to be sent."""
    with closing(Tail(home)) as tail, closing(Outbox(home)) as outbox:
        standing, end = outbox.standing(), tail.end()
    return standing is not None and standing.cursor == end and not any(each.pending for each in overview(home))


def run_night(shop: Town, night: str) -> subprocess.CompletedProcess[str]:
    """Run `clarion nightly` that night, and wait until people are told what there is to tell."""
    command = [sys.executable, "-c", CLARION, str(moment(night) - time.time()), "nightly"]
    environment = {**os.environ, "CLARION_HOME": str(shop.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    until(lambda: all_is_told(shop.home))
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have nights work below `tmp_path`."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def test_what_breaks_upstream_is_told_once_and_once_when_it_works_again(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second night names the dependency and the night it began; the third is as the second, and no news."""
    with people(monkeypatch) as (told, channels), town(tmp_path, channels) as shop:
        until(lambda: bool(tellers(shop.home)) and all_is_told(shop.home))
        first = run_night(shop, "2026-11-19")
        assert (first.returncode, told.counts) == (0, (0, 0, 0))
        assert "works    rebuild shop        bit-identical" in first.stdout

        write_wheel(shop.wheels, "1.1", says="goodbye")
        second = run_night(shop, "2026-11-20")
        assert (second.returncode, told.counts) == (1, (1, 1, 1))
        assert "Night of 2026-11-20: 1 broken, 1 works, 1 skipped" in second.stdout
        check_broken_report(second.stdout)
        check_broken(told)

        kill_teller(shop.home)
        third = run_night(shop, "2026-11-21")
        assert (third.returncode, told.counts) == (1, (1, 1, 1))
        check_broken_report(third.stdout)

        write_wheel(shop.wheels, "1.2")
        fourth = run_night(shop, "2026-11-22")
        assert (fourth.returncode, told.counts) == (0, (2, 2, 2))
        assert "works    rebuild shop        differs: greeting 1.0 -> 1.2" in fourth.stdout
        check_repaired(told)

        fifth = run_night(shop, "2026-11-23")
        assert (fifth.returncode, told.counts) == (0, (2, 2, 2))
    assert list(place.iterdir()) == []


def check_broken_report(text: str) -> None:
    """Check that a night says what moved, since when it is broken, and what the build printed."""
    # Where its lines break depends on how long the path of the Python is that the test names.
    assert "broken rebuild shop greeting 1.0 -> 1.1: [test] package: " in " ".join(text.split())
    assert "--- rebuild shop, broken since 2026-11-20 ---" in text
    assert "  - moved since the night of 2026-11-19: greeting 1.0 -> 1.1" in text
    assert "  | greeting says goodbye" in text


def check_broken(told: People) -> None:
    """Check that everybody is told what broke, why, since which night, and what to type."""
    title, why = "nightly of 2026-11-20 broken: rebuild shop", "greeting 1.0 -> 1.1: [test] package: "
    since = "failed with exit code 1 (since 2026-11-20); 1 check broken, 1 working, 1 skipped"
    assert told.mail.startswith(f"[acme] WARNING: {title}\n\n{title}\n\n{why}")
    assert told.message.startswith(f"\N{LARGE ORANGE CIRCLE} {title}: {why.replace('>', '&gt;')}")
    (event,) = told.pagerduty.events
    payload = event["payload"]
    assert (event["event_action"], payload["severity"], payload["source"]) == ("trigger", "warning", "acme")
    assert payload["summary"].startswith(f"{title}: {why}")
    assert told.pagerduty.open == [event["dedup_key"]]
    for text in (told.mail, told.message, payload["summary"]):
        assert since in text
    for text in (told.mail, str(told.slack.messages), payload["custom_details"]["next_command"]):
        assert "clarion nightly report" in text


def check_repaired(told: People) -> None:
    """Check that everybody is told what works again, and that nobody is paged any more."""
    title = "nightly of 2026-11-22 repaired: rebuild shop"
    why = "was broken since 2026-11-20; now 2 checks working, 1 skipped"
    assert told.mail.startswith(f"[acme] RESOLVED: {title}\n\n{title}\n\n{why}\n")
    assert told.message == f"\N{WHITE HEAVY CHECK MARK} {title}: {why}"
    trigger, resolve = told.pagerduty.events
    assert (resolve["event_action"], resolve["dedup_key"]) == ("resolve", trigger["dedup_key"])
    assert told.pagerduty.open == []
    first, second = (mail["References"] for mail in told.postbox.mails)
    assert first == second, "one thread"
