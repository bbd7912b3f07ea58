"""How channels stand, for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clarion_controller.notifying.outbox import Changes, Outbox, Outgoing, Standing
from clarion_controller.notifying.overview import ChannelStanding, overview

FLEET = """
[[notify]]
name = "chat"
slack = { url = "env:SLACK" }
[repository.shop]
url = "https://gitlab.com/acme/shop"
forge = "gitlab"
token = "env:TOKEN"
"""


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Return the outbox of a home in which four things wait for the chat."""
    (tmp_path / "state").mkdir()
    (tmp_path / "fleet.toml").write_text(FLEET)
    with closing(Outbox(tmp_path)) as made:
        waiting = [Outgoing("notify:chat", str(number), b"", 1.0) for number in range(4)]
        made.advance(Changes(Standing(1, b"{}", b"{}"), waiting))
        yield made


def chat(home: Path) -> ChannelStanding:
    """Return how the chat stands."""
    return overview(home)[0]


def test_before_anything_was_told_all_channels_are_listed(tmp_path: Path) -> None:
    """And forges that are told; nothing is made by looking."""
    (tmp_path / "fleet.toml").write_text(FLEET)
    standings = [ChannelStanding(name="chat", way="slack"), ChannelStanding(name="forge:shop", way="gitlab")]
    assert overview(tmp_path) == standings
    assert not (tmp_path / "state").exists()


def test_it_counts_what_waits_arrived_and_was_given_up(tmp_path: Path, outbox: Outbox) -> None:
    """The trouble of what waits is shown; that of what was before the last arrival is not."""
    for now, outcome in enumerate(("given up", "sent", "failed")):
        pending = outbox.first("notify:chat")
        assert pending
        if outcome == "given up":
            outbox.give_up(pending, "404 no_service", now)
            assert chat(tmp_path).last_error == "404 no_service"
        elif outcome == "sent":
            outbox.sent(pending, "", now)
            assert chat(tmp_path).last_error == ""
        else:
            outbox.failed(pending, "500", 10.0)
    assert chat(tmp_path) == ChannelStanding(
        name="chat", way="slack", pending=2, last_sent=1.0, last_error="500", given_up=1
    )
