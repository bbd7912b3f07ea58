"""Each way of [[notify]] has its notifier, with its secret; and the page says everything that a notice says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.controller.notifiers.test_webhook import PAGE

from clarion_controller.fleet_toml.channels import Channel, Slack
from clarion_controller.fleet_toml.fleet import parse_fleet
from clarion_controller.fleet_toml.table import Secret
from clarion_controller.notice import Kind, Notice, Severity
from clarion_controller.notifiers.choose import notifier_of
from clarion_protocol.errors import BadConfig

WAYS = {
    "SlackNotifier": 'slack = { url = "file:s" }',
    "EmailNotifier": 'email = { to = ["a@b"], sender = "c@d", user = "u", password = "file:s" }',
    "PagerDutyNotifier": 'pagerduty = { routing_key = "file:s" }',
    "WebhookNotifier": 'webhook = { url = "https://x", secret = "file:s" }',
    "AppriseNotifier": 'apprise = { url = "file:s" }',
}


def channel(way: str) -> Channel:
    """Return the channel that fleet.toml describes."""
    return parse_fleet(f'[[notify]]\nname = "x"\n{way}\n').notify[0]


@pytest.mark.parametrize(("name", "way"), WAYS.items())
def test_each_way_has_its_notifier(tmp_path: Path, name: str, way: str) -> None:
    """Which can be shown without its secret; without a secret there is none."""
    with pytest.raises(BadConfig, match="cannot be read"):
        notifier_of(channel(way), tmp_path, "main")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "s").write_text("correct-horse")
    (tmp_path / "secrets" / "s").chmod(0o600)
    notifier = notifier_of(channel(way), tmp_path, "main")
    assert type(notifier).__name__ == name
    assert "correct-horse" not in repr(notifier)


def test_a_channel_without_a_way_is_a_mistake(tmp_path: Path) -> None:
    """`clarion validate` would have said so."""
    with pytest.raises(BadConfig, match="no way"):
        notifier_of(Channel(name="x"), tmp_path, "main")


def test_a_way_that_is_not_used_is_not_loaded() -> None:
    """The process that tells people is there day and night."""
    program = "import sys, clarion_controller.notifiers.choose; sys.exit(bool({'httpx', 'smtplib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert Channel(name="x", slack=Slack(Secret("file:s"))).ways == ["slack"]


def rows(title: str) -> list[str]:
    """Return the words in the first column of a section of the page."""
    text = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    section = dict(zip(text[1::2], text[2::2], strict=True))[title]
    return [
        word for row in re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE) for word in re.findall("`(.+?)`", row)
    ]


def test_the_page_says_what_can_be_told() -> None:
    """Every kind, severity and field, and none that does not exist."""
    assert rows("Kinds") == [kind.value for kind in Kind]
    assert "`info`, `warning`, `error`, `critical`" in PAGE.read_text()
    assert [each.value for each in Severity] == ["info", "warning", "error", "critical"]
    assert sorted(rows("Fields")) == sorted(Notice.__struct_fields__)
