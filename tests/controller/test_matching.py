"""Which server runs which agent."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.discover.discovered import Discovered
from clarion_controller.matching import Member, match
from clarion_controller.state.roster import Host
from clarion_protocol.words import is_name

ONE, TWO = "aws:i-0aaaaaaa", "aws:i-0bbbbbbb"


def host(name: str, instance: str = "", groups: tuple[str, ...] = ()) -> Host:
    """Return an enrolled host."""
    return Host(f"id of {name}", name, "production", groups, "", "", joined_at=0.0, instance=instance)


def cloud(name: str, instance: str, **fields: object) -> Discovered:
    """Return a server as a cloud lists it."""
    return Discovered(name=name, source="aws", instance=instance, **fields)  # type: ignore[arg-type]


def by_name(name: str) -> Discovered:
    """Return a server as a list in fleet.toml has it."""
    return Discovered(name=name, source="static")


def in_short(members: list[Member]) -> list[str]:
    """Return each member as one line: what it is called, whether it has an agent, a server, a place in the fleet."""
    lines = []
    for each in members:
        is_what = {"agent": each.host, "server": each.server, "out": not each.is_expected}
        lines.append(" ".join([f"{each.name}:", *(word for word, holds in is_what.items() if holds)]))
    return lines


@pytest.mark.parametrize(
    ("discovered", "enrolled", "members"),
    [
        pytest.param(None, [host("b"), host("a", ONE)], ["a: agent", "b: agent"], id="no sources: whoever is enrolled"),
        pytest.param([], [host("a")], ["a: agent out"], id="sources that list nobody: nobody belongs"),
        pytest.param([cloud("web", ONE)], [host("a", ONE)], ["a: agent server"], id="by the number that both name"),
        pytest.param([cloud("a", ONE)], [host("a")], ["a: agent out", "a-i-0aaaaaaa: server"], id="never by a name"),
        pytest.param(
            [cloud("a", ONE)], [host("a", TWO)], ["a: agent out", "a-i-0aaaaaaa: server"], id="nor by another's number"
        ),
        pytest.param([by_name("a")], [host("a")], ["a: agent server"], id="listed by name: by that name"),
        pytest.param([by_name("a")], [host("a", ONE)], ["a: agent server"], id="also an agent that has a number"),
        pytest.param(
            [by_name("a"), cloud("x", ONE)], [host("a", ONE)], ["a: agent server", "a-static: server"],
            id="unless it is bound to a server of a cloud",
        ),
        pytest.param([by_name("a"), by_name("b")], [host("a")], ["a: agent server", "b: server"], id="without agent"),
        pytest.param(
            [cloud("web", ONE), cloud("web", TWO)], [], ["web-i-0aaaaaaa: server", "web-i-0bbbbbbb: server"],
            id="namesakes without agent are told apart by number",
        ),
        pytest.param([cloud("Web Server", ONE)], [], ["i-0aaaaaaa: server"], id="what is no name is called by number"),
        pytest.param([cloud("i-0aaaaaaa", ONE)], [], ["i-0aaaaaaa: server"], id="also what has no name in its cloud"),
        pytest.param(
            [cloud("web", ONE)], [host("web"), host("web-i-0aaaaaaa")],
            ["i-0aaaaaaa: server", "web: agent out", "web-i-0aaaaaaa: agent out"],
            id="an agent cannot call itself what a server without agent is called",
        ),
        pytest.param(
            [cloud("w", ONE)], [host("w"), host("w-i-0aaaaaaa"), host("i-0aaaaaaa")],
            ["aws:i-0aaaaaaa: server", "i-0aaaaaaa: agent out", "w: agent out", "w-i-0aaaaaaa: agent out"],
            id="however many try to",
        ),
        pytest.param(
            [cloud("i-0bbbbbbb", ONE), cloud("a b", TWO)], [],
            ["aws:i-0bbbbbbb: server", "i-0bbbbbbb-i-0aaaaaaa: server"],
            id="nor does who names servers give one the number of another",
        ),
        pytest.param(
            [cloud("x", ONE)], [host("a", ONE), host("b", ONE)], ["a: agent out", "b: agent out", "x: server"],
            id="two that claim one server have both lost it",
        ),
    ],
)  # fmt: skip
def test_who_is_bound_to_what(discovered: list[Discovered] | None, enrolled: list[Host], members: list[str]) -> None:
    """Every server and every agent is one member; a server and its agent are the same one."""
    assert in_short(match(discovered, enrolled)) == members


def test_while_a_source_has_never_answered_nobody_is_thrown_out() -> None:
    """An agent that nobody lists may be one of those that it will list."""
    [one] = match([], [host("a")], is_complete=False)
    assert (one.is_expected, one.findings) == (True, ())


def test_what_does_not_fit_says_what_to_do() -> None:
    """An agent without server, one that only shares its name with a server, and two that claim the same."""
    stranger, named = match([cloud("a", ONE)], [host("a")])
    assert "clarion hosts revoke a -e production" in stranger.findings[0]
    assert "clarion-agent join" in named.findings[0]
    [gone] = match([], [host("a", ONE)])
    assert f"no source lists it as {ONE}" in gone.findings[0]
    _, listed = match([by_name("a"), cloud("x", ONE)], [host("a", ONE)])
    assert "take a out of static" in listed.findings[0]
    first, second, _ = match([cloud("x", ONE)], [host("a", ONE), host("b", ONE)])
    assert "as b does" in first.findings[0]
    assert "as a does" in second.findings[0]


def test_a_server_that_two_sources_list_is_one() -> None:
    """With the groups, tags and addresses of both, and both sources named."""
    first = cloud("web", ONE, groups=("g1",), tags={"role": "web"}, addresses=("10.0.0.1",))
    second = Discovered(name="w", source="static", instance=ONE, zone="z", groups=("g2",), tags={"role": "x", "a": "b"})
    [member] = match([first, second], [host("a", ONE, groups=("invited",))])
    assert member.server
    assert (member.server.source, member.zone) == ("aws, static", "z")
    assert member.groups == ("invited", "g1", "g2")
    assert member.tags == {"role": "web", "a": "b"}


names = st.sampled_from(
    ["a", "b", "A B", "a-i-0aaaaaaa", "i-0aaaaaaa", "i-0bbbbbbb", "a-1", "1", "1-2", "2", "a-aws", "a-aws-aws"]
)
numbers = st.sampled_from(["", ONE, TWO, "gcp:1", "gcp:2"])
servers = st.lists(st.builds(cloud, names, numbers), max_size=6)
agents = st.lists(
    st.builds(host, names.filter(is_name), numbers), max_size=4, unique_by=(lambda each: each.name)
)  # fmt: skip


@given(st.none() | servers, agents, st.booleans())
def test_nobody_is_lost_and_nobody_counted_twice(
    discovered: list[Discovered] | None,
    enrolled: list[Host],
    is_complete: bool,
) -> None:
    """Each agent is in exactly one member, each server too; and whoever has both names the same number, or none."""
    members = match(discovered, enrolled, is_complete=is_complete)
    assert sorted(each.host.name for each in members if each.host) == sorted(each.name for each in enrolled)
    listed = [each.server.instance or each.server.name for each in members if each.server]
    assert sorted(listed) == sorted({each.instance or each.name for each in discovered or ()})
    for each in members:
        if each.host and each.server and each.server.instance:
            assert each.host.instance == each.server.instance
        if each.server:
            assert each.is_expected
    names = [each.name for each in members]
    assert names == sorted(set(names))


def test_five_thousand_servers_are_matched_in_linear_time() -> None:
    """Half of them by number, half by name."""
    enrolled = [host(f"web-{n}", f"aws:i-{n:08x}" if n % 2 else "") for n in range(5000)]
    discovered = [cloud("web", f"aws:i-{n:08x}") if n % 2 else by_name(f"web-{n}") for n in range(5000)]
    began = time.process_time()
    assert all(each.host and each.server for each in match(discovered, enrolled))
    assert time.process_time() - began < 3  # quadratic, it takes minutes
