"""Discovery: what is known, when sources are asked, and that nothing but a person ever shrinks a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.controller.fake_sources import AWAY, AWS, GCP, Rig, only, refreshed, servers
from tests.stores import cluster_in

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.discover.asked import Asked
from clarion_controller.discover.attempts import Attempts
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discovery import check_known
from clarion_controller.fleet_toml.fleet import Aws, HostSource
from clarion_protocol.errors import BadConfig, Blocked, UnknownName


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Make a cluster of two environments, the second without sources."""
    rig = Rig(cluster_in(tmp_path, "production", "staging").home)
    rig.write(AWS, "[environment.staging]")
    return rig


def test_an_environment_without_sources_means_whoever_joined(rig: Rig) -> None:
    """So nothing is known of it, and nothing is asked."""
    found = refreshed(rig.discovery(), "staging")
    assert (found.known("staging"), found.sources("staging"), rig.clouds.asked) == (None, [], [])


def test_an_unknown_environment_is_said(rig: Rig) -> None:
    """By every question."""
    found = rig.discovery()
    for ask in (found.known, found.sources, found.accept_shrink, found.poke):
        with pytest.raises(UnknownName):
            ask("prodution")
    with pytest.raises(UnknownName):
        asyncio.run(found.refresh("prodution"))


def test_all_sources_together_in_the_order_of_the_file(rig: Rig) -> None:
    """Whichever answered first."""
    rig.write(f'{GCP}, {{ static = ["db-2", "db-1", "db-2"] }}, {AWS}')
    rig.clouds.says = {"aws": servers(2, 1), "gcp": [Discovered(name="g", source="gcp", instance="gcp:7")]}
    found = refreshed(rig.discovery())
    assert [host.name for host in found.known("production") or []] == ["g", "db-2", "db-1", "web", "web"]
    assert [(each.source, each.hosts, each.answered_at) for each in found.sources("production")] == [
        ("gcp acme", 1, rig.clock.now),
        ("static", 2, rig.clock.now),
        ("aws eu-west-1", 2, rig.clock.now),
    ]


def test_a_list_is_known_at_once(rig: Rig) -> None:
    """Also as it was edited a moment ago; nobody is asked."""
    rig.write('{ static = ["db-1"] }')
    found = rig.discovery()
    assert [host.name for host in found.known("production") or []] == ["db-1"]
    rig.write('{ static = ["db-1", "db-22"] }')
    assert [host.name for host in found.known("production") or []] == ["db-1", "db-22"]


def test_a_source_that_never_answered_adds_nobody_and_says_so(rig: Rig) -> None:
    """Neither before it was asked nor after it failed."""
    found = rig.discovery()
    assert (found.known("production"), only(found).answered_at, only(found).trouble) == ([], None, "")
    rig.clouds.says = {"aws": AWAY}
    refreshed(found)
    assert (found.known("production"), only(found).answered_at) == ([], None)
    assert (only(found).trouble, only(found).hint) == (AWAY.message, AWAY.hint)


def test_a_bug_about_one_source_is_trouble_of_that_source(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are asked all the same."""
    rig.write(f"{GCP}, {AWS}")
    rig.clouds.says = {"aws": servers(1), "gcp": ZeroDivisionError("a bug")}
    found = refreshed(rig.discovery())
    assert found.known("production") == servers(1)
    assert "log says why" in found.sources("production")[0].trouble
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize("error", [OSError("no such disk"), BadConfig("no such file", hint="Look.")])
def test_what_goes_wrong_with_an_answer_ends_nothing(
    rig: Rig, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever waits for the attempt goes on, the trouble is the source's, and it is asked again later."""
    heard: list[object] = []

    def fail_once(source: Asked, hosts: Sequence[Discovered]) -> None:
        heard.append(hosts)
        if len(heard) == 1:
            raise error

    async def ask_twice() -> tuple[str, int]:
        rig.clouds.says = {"aws": servers(1)}
        attempts = Attempts(rig.clouds.ask, rig.home, fail_once)
        source = Asked("production", HostSource(aws=Aws(regions=("eu-west-1",))))
        await attempts.begin(source, 1.0)
        trouble = source.belief.trouble
        await attempts.begin(source, 2.0)
        return trouble.message if trouble else "", len(heard)

    trouble, times = asyncio.run(ask_twice())
    assert ("log says why" in trouble or "no such file" in trouble, times) == (True, 2)
    assert str(error).partition("\n")[0] in capsys.readouterr().out


def test_an_error_keeps_what_was_known(rig: Rig) -> None:
    """Until the source is well again."""
    rig.clouds.says = {"aws": servers(*range(10))}
    found = refreshed(rig.discovery())
    rig.clouds.says, first = {"aws": AWAY}, rig.clock.now
    rig.clock.now += 60
    refreshed(found)
    assert found.known("production") == servers(*range(10))
    assert (only(found).hosts, only(found).answered_at, only(found).trouble) == (10, first, AWAY.message)
    rig.clouds.says = {"aws": servers(*range(9))}
    refreshed(found)
    assert (only(found).hosts, only(found).answered_at, only(found).trouble) == (9, rig.clock.now, "")


def test_far_fewer_hosts_are_only_offered_until_somebody_accepts(rig: Rig) -> None:
    """Also over a restart: what was before is kept, and what was accepted."""
    rig.clouds.says = {"aws": servers(*range(10))}
    refreshed(rig.discovery())
    rig.clouds.says = {"aws": servers(1)}
    found = refreshed(rig.discovery())
    assert (found.known("production"), only(found).hosts, only(found).offered) == (servers(*range(10)), 10, 1)
    found.accept_shrink("production")
    assert (found.known("production"), only(found).hosts, only(found).offered) == (servers(1), 1, None)
    assert rig.discovery().known("production") == servers(1)


def test_every_change_is_kept(rig: Rig) -> None:
    """Not only the first answer, nor only once in a while."""
    found = rig.discovery()
    for hosts in (servers(1), servers(1, 2), servers(1, 2, 3)):
        rig.clouds.says = {"aws": hosts}
        refreshed(found)
        assert rig.discovery().known("production") == hosts


def test_max_shrink_is_what_fleet_toml_says_now(rig: Rig) -> None:
    """Another limit is another rule, not another source."""
    rig.clouds.says = {"aws": servers(*range(10))}
    found = refreshed(rig.discovery())
    rig.write(AWS, 'max_shrink = "90%"')
    rig.clouds.says = {"aws": servers(1)}
    assert refreshed(found).known("production") == servers(1)


def test_each_source_is_held_against_itself(rig: Rig) -> None:
    """A big one does not hide that a small one is gone."""
    rig.write(f"{GCP}, {AWS}")
    rig.clouds.says = {"aws": servers(*range(100)), "gcp": servers(200, 201)}
    found = refreshed(rig.discovery())
    rig.clouds.says["gcp"] = []
    refreshed(found)
    assert [each.offered for each in found.sources("production")] == [0, None]
    assert len(found.known("production") or []) == 102


def test_a_damaged_memory_is_no_answer(rig: Rig) -> None:
    """Not one without hosts, of which a deployment would believe the next."""
    rig.clouds.says = {"aws": servers(1)}
    refreshed(rig.discovery())
    (rig.home / "state" / "discovered" / "production.json").write_text("{")
    assert only(rig.discovery()).answered_at is None


def test_another_tag_is_another_source(rig: Rig) -> None:
    """Its first answer is believed, whatever it is; the other's is forgotten, also when it comes back."""
    rig.clouds.says = {"aws": servers(*range(10))}
    found = refreshed(rig.discovery())
    rig.write(AWS.replace("web", "db"))
    assert (found.known("production"), only(found).answered_at) == ([], None)
    rig.clouds.says = {"aws": servers(50)}
    assert refreshed(found).known("production") == servers(50)
    rig.write(AWS)
    assert only(found).answered_at is None


def test_what_is_forgotten_is_forgotten_over_a_restart(rig: Rig) -> None:
    """Or an old answer would be "before" for the first one of a source that comes back."""
    rig.clouds.says = {"aws": servers(1)}
    found = refreshed(rig.discovery())
    rig.write(GCP)
    assert found.known("production") == []
    rig.write(AWS)
    assert only(rig.discovery()).answered_at is None


def test_a_source_that_goes_takes_its_hosts_along(rig: Rig) -> None:
    """And one that stays keeps its own."""
    rig.write(f"{GCP}, {AWS}")
    rig.clouds.says = {"aws": servers(1), "gcp": servers(2)}
    found = refreshed(rig.discovery())
    rig.write(AWS)
    assert found.known("production") == servers(1)
    assert rig.discovery().known("production") == servers(1)


def test_an_answer_for_a_source_that_has_gone_is_dropped(rig: Rig) -> None:
    """It was asked while somebody edited."""

    async def edit_meanwhile() -> None:
        rig.clouds.gate = asyncio.Event()
        rig.clouds.says = {"aws": servers(1)}
        found = rig.discovery()
        asking = asyncio.create_task(found.refresh("production"))
        await asyncio.sleep(0.01)
        (rig.home / "fleet.toml").write_text("[environment.staging]\n")
        rig.clouds.gate.set()
        await asking
        rig.write(AWS)
        assert found.known("production") in ([], servers(1))

    asyncio.run(edit_meanwhile())


def test_a_broken_edit_keeps_what_is_known_and_shows_the_trouble(rig: Rig) -> None:
    """Until it is repaired; a file that is gone is as broken."""
    rig.clouds.says = {"aws": servers(1)}
    found = refreshed(rig.discovery())
    for content in ("[environment.production", None):
        if content is None:
            (rig.home / "fleet.toml").unlink()
        else:
            (rig.home / "fleet.toml").write_text(content)
        assert found.known("production") == servers(1)
        assert "fleet.toml" in only(found).trouble
        with pytest.raises(Blocked, match=r"fleet\.toml") as caught:
            check_known(found.sources("production"), accept_shrink=False)
        assert caught.value.hint == "Run 'clarion validate'."
    rig.write(AWS)
    assert only(found).trouble == ""


def test_an_inventory_is_read_again_only_when_it_has_changed(rig: Rig) -> None:
    """Ansible takes a second of CPU to read what is still the same."""
    rig.write('{ inventory = "hosts.ini" }')
    (rig.home / "hosts.ini").write_text("web-1")
    rig.clouds.says = {"inventory": [Discovered(name="web-1", source="inventory")]}
    found = refreshed(refreshed(rig.discovery()))
    assert rig.clouds.asked == ["inventory"]
    rig.clock.now += 5
    assert only(refreshed(found)).answered_at == rig.clock.now
    (rig.home / "hosts.ini").write_text("web-1\nweb-2")
    refreshed(found)
    assert rig.clouds.asked == ["inventory"] * 2


def test_a_young_answer_is_not_asked_for_again(rig: Rig) -> None:
    """Nor is a young failure."""

    async def ask_often() -> None:
        rig.clouds.says = {"aws": AWAY}
        found = rig.discovery()
        for _ in range(3):
            await found.refresh("production", younger_than=10)
        assert len(rig.clouds.asked) == 1
        rig.clock.now += 10
        await found.refresh("production", younger_than=10)
        await found.refresh("production")
        assert len(rig.clouds.asked) == 3

    asyncio.run(ask_often())


def test_a_clock_that_is_set_back_does_not_stop_the_asking(rig: Rig) -> None:
    """What was tried in the future was not tried."""

    async def set_back() -> None:
        rig.clouds.says = {"aws": servers(1)}
        found = rig.discovery()
        await found.refresh("production", younger_than=10)
        rig.clock.now -= 86_400
        await found.refresh("production", younger_than=10)

    asyncio.run(set_back())
    assert len(rig.clouds.asked) == 2


def test_who_asks_at_the_same_time_shares_one_attempt(rig: Rig) -> None:
    """And one who gives up does not end it for the others."""

    async def ask_together() -> None:
        rig.clouds.gate = asyncio.Event()
        rig.clouds.says = {"aws": servers(1)}
        found = rig.discovery()
        asking = [asyncio.create_task(found.refresh("production")) for _ in range(3)]
        await asyncio.sleep(0.01)
        asking[0].cancel()
        await asyncio.sleep(0.01)
        rig.clouds.gate.set()
        await asyncio.gather(*asking[1:])
        assert found.known("production") == servers(1)
        assert rig.clouds.asked == ["aws"]

    asyncio.run(ask_together())


def test_at_most_two_are_asked_at_once(rig: Rig) -> None:
    """However many environments there are."""
    sources = ", ".join(AWS.replace("web", f"role-{number}") for number in range(7))
    rig.write(sources)
    rig.clouds.says = {"aws": servers(1)}
    refreshed(rig.discovery())
    assert (len(rig.clouds.asked), rig.clouds.most_at_once) == (7, 2)


def source(name: str, hosts: int, **rest: Any) -> SourceAnswer:
    """Return how a source is that was believed an hour into the epoch."""
    return SourceAnswer(**{"environment": "production", "source": name, "hosts": hosts, "answered_at": 3600.0, **rest})


WELL = source("static", 2)
AWAY_SINCE = source("aws eu-west-1", 40, trouble="it is down", hint="Wait.")
NEVER = source("gcp acme", 0, answered_at=None, trouble="no credentials", hint="Log in.")
UNASKED = source("gcp acme", 0, answered_at=None)
SHRUNK = source("aws eu-west-1", 40, offered=3)
OTHERS = source("aws eu-west-1", 40, offered=41)


@pytest.mark.parametrize(
    ("sources", "accept_shrink", "said"),
    [
        pytest.param([], False, None, id="no sources"),
        pytest.param([WELL, source("aws", 0)], False, None, id="all well, one lists nobody"),
        pytest.param(
            [WELL, AWAY_SINCE],
            False,
            "aws eu-west-1 has not answered since 1970-01-01 01:00 UTC: it is down",
            id="away",
        ),
        pytest.param([AWAY_SINCE], True, None, id="away, and its last answer counts"),
        pytest.param([NEVER], False, "gcp acme has never answered: no credentials", id="never answered"),
        pytest.param([NEVER], True, "gcp acme has never answered: no credentials", id="never answered, so none counts"),
        pytest.param([UNASKED], True, "gcp acme has never answered", id="not asked yet"),
        pytest.param(
            [SHRUNK],
            False,
            "aws eu-west-1 lists 3 hosts where it listed 40 before (until 1970-01-01 01:00 UTC)",
            id="shrunk",
        ),
        pytest.param(
            [source("static", 5, offered=1)],
            False,
            "static lists 1 host where it listed 5 before (until 1970-01-01 01:00 UTC)",
            id="shrunk to one",
        ),
        pytest.param([SHRUNK], True, None, id="shrunk, and that is right"),
        pytest.param(
            [OTHERS],
            False,
            "aws eu-west-1 lists 41 hosts, but too few of the 40 before (until 1970-01-01 01:00 UTC)",
            id="others than before",
        ),
    ],
)
def test_a_deployment_is_blocked_while_it_is_not_known_which_hosts_there_are(
    sources: list[SourceAnswer], accept_shrink: bool, said: str | None
) -> None:
    """With one sentence that says which source, since when, and what is wrong."""
    if said is None:
        check_known(sources, accept_shrink=accept_shrink)
        return
    with pytest.raises(Blocked) as caught:
        check_known(sources, accept_shrink=accept_shrink)
    assert caught.value.message == said


def test_what_is_wrong_with_all_sources_is_said_once() -> None:
    """As with a broken fleet.toml, which every source shows."""
    with pytest.raises(Blocked) as caught:
        check_known([AWAY_SINCE, msgspec.structs.replace(AWAY_SINCE, source="static")], accept_shrink=False)
    assert caught.value.message == AWAY_SINCE.trouble


def test_the_way_on_is_named() -> None:
    """What the source needs, where to look, and how to go on all the same, if that can help."""
    with pytest.raises(Blocked) as caught:
        check_known([AWAY_SINCE, SHRUNK], accept_shrink=False)
    assert caught.value.message.count("aws eu-west-1") == 2
    for part in ("Wait.", "'clarion hosts -e production'", "--accept-shrink"):
        assert part in (caught.value.hint or "")
    with pytest.raises(Blocked) as caught:
        check_known([NEVER, SHRUNK], accept_shrink=False)
    assert "--accept-shrink" not in (caught.value.hint or "")
