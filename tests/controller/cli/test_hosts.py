"""`clarion hosts`: filters, sources, findings, watching, and shutting out what is gone."""

from __future__ import annotations

import io
import json
import sys
import time

import msgspec
import pytest
from rich.console import Console

from clarion_controller.api.answers import HostAnswer, InvitationAnswer, SourceAnswer
from clarion_controller.cli import show_hosts
from clarion_controller.cli.show_hosts import picture_of, watch_hosts
from clarion_protocol.errors import BadConfig, ControllerUnreachable
from clarion_protocol.words import ExitCode

from .conftest import StandIn, Terminal, a_host

FLEET = [
    a_host("web-1", zone="eu-west-1a", tags={"role": "web"}, groups=["blue"], instance="aws:i-0123456789abcdef0"),
    a_host("web-2", zone="eu-west-1b", tags={"role": "web"}, groups=["green"]),
    a_host("db-1", zone="eu-west-1a", tags={"role": "db"}, is_enrolled=False, is_connected=False, id=None, running=[]),
    a_host("old-1", is_discovered=False, is_connected=False, findings=["no source lists its server"]),
    a_host("odd-1", is_discovered=False),
]
SOURCE = SourceAnswer(
    environment="production",
    source="aws eu-west-1",
    hosts=3,
    offered=1,
    trouble="the credentials have expired",
    hint="Renew them.",
)


@pytest.fixture
def fleet(controller: StandIn) -> StandIn:
    """Return a controller of a fleet on a cloud."""
    controller.answers["GET /v1/hosts"] = lambda *_: FLEET
    controller.answers["GET /v1/sources"] = lambda *_: [msgspec.structs.replace(SOURCE, answered_at=time.time() - 150)]
    return controller


def listed(terminal: Terminal, *options: str) -> list[str]:
    """Return the names of the hosts that the options mean."""
    assert terminal.type("hosts", "--json", *options) == 0
    return [host["name"] for host in json.loads(terminal.out)]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--tag", "role=web"], ["web-1", "web-2"]),
        (["--tag", "role=web", "--zone", "eu-west-1a"], ["web-1"]),
        (["--zone", "eu-west-1a", "--zone", "eu-west-1b"], ["web-1", "web-2", "db-1"]),
        (["--group", "green", "--group", "blue"], ["web-1", "web-2"]),
    ],
    ids=["a tag", "a tag and a zone", "either zone", "either group"],
)
def test_filters_leave_what_fits_all_of_them(
    fleet: StandIn, terminal: Terminal, options: list[str], names: list[str]
) -> None:
    """Different options narrow, the same option repeated widens."""
    assert listed(terminal, *options) == names


def test_a_seed_draws_the_same_hosts_each_time(fleet: StandIn, terminal: Terminal) -> None:
    """40 % of five hosts are two, and the same two as long as the seed is the same."""
    drawn = {seed: listed(terminal, "--limit", "40%", "--seed", seed) for seed in "abcdefgh"}
    assert {len(names) for names in drawn.values()} == {2}
    assert len({tuple(names) for names in drawn.values()}) > 1
    assert listed(terminal, "--limit", "40%", "--seed", "a") == drawn["a"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--zone", "eu-west-1c"], "no host has zone eu-west-1c"),
        (["--tag", "role=wbe"], "Did you mean web"),
        (["--tag", "role"], "a tag is written KEY=VALUE"),
        (["--group", ""], "--group is empty"),
        (["--limit", "some"], "--limit"),
        (["--limit", "0"], "is none"),
        (["--tag", "role=web", "--tag", "role=db"], "no host has both web and db"),
        (["--seed", "night"], "without --limit"),
    ],
    ids=[
        "an unknown zone",
        "a slip of the pen",
        "no value",
        "an empty word",
        "no share",
        "nobody",
        "one tag with two values",
        "a seed for nothing",
    ],
)
def test_a_filter_that_means_nobody_is_an_error(
    fleet: StandIn, terminal: Terminal, options: list[str], told: str
) -> None:
    """Never an empty list, and never everybody."""
    assert terminal.type("hosts", *options) == ExitCode.USAGE
    assert told in terminal.err
    assert not terminal.out


def test_what_does_not_fit_together_stands_out(fleet: StandIn, terminal: Terminal) -> None:
    """A server without agent, an agent without server, a source in trouble and how old its answer is."""
    assert terminal.type("hosts") == 0
    lines = {line.split()[0]: line for line in terminal.out.splitlines() if line.strip()}
    assert "without agent" in lines["db-1"]
    assert "gone" in lines["old-1"]
    assert "connected, not listed" in lines["odd-1"]
    assert "old-1: no source lists its server" in terminal.out
    assert "production, aws eu-west-1: 3 hosts, 2 min ago" in terminal.out
    assert "now it lists 1 host, which is not believed" in terminal.out
    assert "the credentials have expired" in terminal.out
    assert "Renew them." in terminal.out


def test_a_source_cannot_steer_the_terminal() -> None:
    """What a cloud says is shown without control characters."""
    evil = SourceAnswer(environment="production", source="aws", hosts=0, trouble="\x1b[2Jgone")
    screen = Console(file=io.StringIO(), width=80)
    host = a_host("web-1", zone="\x1b[2Jnowhere", findings=["\x1b[31mred"])
    screen.print(picture_of([host], [evil]))
    assert "\x1b" not in screen.file.getvalue()  # type: ignore[attr-defined]


def test_revoking_what_is_gone_spares_who_speaks(fleet: StandIn, terminal: Terminal) -> None:
    """Only an agent that is silent and whose server is not listed any more is shut out."""
    fleet.answers["DELETE /v1/hosts/old-1"] = lambda *_: FLEET[3]
    image = InvitationAnswer(id="ab" * 16, environment="production", uses_left=9, expires=2e9)
    fleet.answers["GET /v1/invites"] = lambda *_: [image]
    assert terminal.type("hosts", "revoke", "--gone", "-e", "production", "--yes") == 0
    assert terminal.out == "old-1 is revoked in production.\n"
    assert f"clarion hosts uninvite {image.id} -e production" in terminal.err


@pytest.mark.parametrize("arguments", [[], ["web-1", "--gone"]], ids=["nobody", "both"])
def test_revoking_means_one_host_or_those_gone(fleet: StandIn, terminal: Terminal, arguments: list[str]) -> None:
    """Neither and both are refused."""
    assert terminal.type("hosts", "revoke", *arguments, "-e", "production", "--yes") == ExitCode.USAGE
    assert "name one host, or write --gone" in terminal.err


def test_a_picture_is_not_for_programs(fleet: StandIn, terminal: Terminal) -> None:
    """Both options at once are refused, instead of one of them being ignored."""
    assert terminal.type("hosts", "--watch", "--json") == ExitCode.USAGE
    assert "Leave one of them out" in terminal.err


def test_watching_needs_a_terminal(fleet: StandIn, terminal: Terminal) -> None:
    """A script that asks for it is told what to do instead."""
    assert terminal.type("hosts", "--watch") == ExitCode.USAGE
    assert "clarion hosts --json" in terminal.err


def test_watching_goes_on_while_the_controller_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is shown; one that fails is said to have, and Ctrl-C ends it."""
    shown: list[HostAnswer | None] = [FLEET[0], None, FLEET[1]]

    def look() -> object:
        if not shown:
            raise KeyboardInterrupt
        host = shown.pop(0)
        if host is None:
            raise ControllerUnreachable("no controller answers")
        return picture_of([host], [])

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(show_hosts, "console", lambda: Console(file=screen, force_terminal=True, width=100))
    watch_hosts(look, interval=0.0)  # type: ignore[arg-type]
    for text in ("web-1", "no controller answers; asking again", "web-2"):
        assert text in screen.getvalue()


def test_nobody_watches_a_file() -> None:
    """Without a terminal there is no picture to draw."""
    with pytest.raises(BadConfig, match="needs a terminal"):
        watch_hosts(lambda: "", interval=0.0)


def test_join_tokens_are_listed_and_withdrawn_by_id(fleet: StandIn, terminal: Terminal) -> None:
    """The list shows what is needed to choose, and never a secret."""
    token = InvitationAnswer(id="ab" * 16, environment="production", groups=["web"], uses_left=9, expires=2e9)
    fleet.answers["GET /v1/invites"] = lambda *_: [token]
    fleet.answers[f"DELETE /v1/invites/{token.id}"] = lambda *_: b""
    assert terminal.type("hosts", "invitations") == 0
    for text in (token.id, "any host", "web", "9", "2033"):
        assert text in terminal.out
    assert terminal.type("hosts", "uninvite", token.id, "-e", "production") == 0
    assert "Nobody joins production" in terminal.out
    assert terminal.type("hosts", "uninvite", "clarion1.x", "-e", "production") == ExitCode.USAGE


def test_where_no_token_is_open_the_next_command_is_named(fleet: StandIn, terminal: Terminal) -> None:
    """On stderr, so that scripts read an empty stdout."""
    fleet.answers["GET /v1/invites"] = lambda *_: []
    assert terminal.type("hosts", "invitations") == 0
    assert "clarion hosts invite" in terminal.err


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_no_cell_is_cut_that_could_be_whole(width: int) -> None:
    """A narrow terminal shows fewer columns; who it is, and whether it can be reached, is always among them."""
    screen = Console(file=io.StringIO(), width=width)
    screen.print(picture_of(FLEET[:2], []))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "web-1" in shown
    assert "connected" in shown
    assert "…" not in shown
    assert ("aws:i-0123456789abcdef0" in shown) == (width >= 110)
