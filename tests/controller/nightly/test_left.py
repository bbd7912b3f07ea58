"""What of all that carries a night's mark is ended, and what people are told of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_controller.nightly.left import GRACE_S, Begun, Known, Verdict, sentence, verdict
from clarion_controller.provisioners.marks import with_mark
from clarion_controller.provisioners.provisioner import Found
from clarion_protocol.words import new_id

HERE, ELSEWHERE = "a-machine /var/lib/clarion", "another-machine /var/lib/clarion"
RUN, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
BEGAN, UNTIL = 1_000_000.0, 1_010_000.0
LEFT = Found("aws:i-0abc", "web-1", RUN, with_mark("a" * 32, RUN), "i-0abc", "aws ec2 terminate-instances ...")


def begun(place: str = HERE) -> Begun:
    """Return the record of a night."""
    return Begun(run=RUN, place=place, began=BEGAN, until=UNTIL, roles=())


def known(*nights: Begun, production: tuple[str, ...] = (), now: float = BEGAN) -> Known:
    """Return what is known here."""
    return Known({each.run: each for each in nights}, production, HERE, now)


MADE_AS = st.sampled_from([with_mark("a" * 32, RUN), with_mark("web-1", RUN), with_mark("web-1", OTHER), "web-1", ""])
NOW = st.floats(min_value=BEGAN - 3 * GRACE_S, max_value=UNTIL + 3 * GRACE_S)


@given(
    run=st.sampled_from([RUN, OTHER, "", "x"]),
    made_as=MADE_AS,
    nights=st.lists(st.builds(begun, st.sampled_from([HERE, ELSEWHERE])), max_size=1),
    production=st.sampled_from([(), ("aws:i-0abc",), ("aws:i-0abcd",)]),
    now=NOW,
)
def test_only_what_all_agree_on_is_ended(
    run: str, made_as: str, nights: list[Begun], production: tuple[str, ...], now: float
) -> None:
    """The ledger, the token or name that it was made with, production's hosts, and the clock where others may live."""
    found = replace(LEFT, run=run, made_as=made_as)
    what = verdict(found, known(*nights, production=production, now=now))
    is_over = bool(nights) and (nights[0].place == HERE or not BEGAN - GRACE_S < now < UNTIL)
    is_made_so = run == RUN and RUN[:12] in made_as
    assert (what is Verdict.LEFT) == (is_over and is_made_so and production != ("aws:i-0abc",))
    assert what.is_odd == (what not in (Verdict.LEFT, Verdict.ALIVE))


ATTACKS: dict[str, tuple[Found, Known, Verdict]] = {
    "a host of production with the tags of a night that died": (
        LEFT,
        known(begun(), production=("aws:i-0abc",)),
        Verdict.PRODUCTION,
    ),
    "the same, spelled otherwise by its cloud": (
        replace(LEFT, instance="azure:0ABC"),
        known(begun(), production=("azure:0abc",)),
        Verdict.PRODUCTION,
    ),
    "a database that no agent runs on, with the tags of a night that died": (
        replace(LEFT, made_as="a" * 32),
        known(begun()),
        Verdict.FEIGNED,
    ),
    "a machine whose name has the beginning of a run, and no more": (
        replace(LEFT, made_as=f"web-1-{RUN[:11]}"),
        known(begun()),
        Verdict.FEIGNED,
    ),
    "a machine in whose name it only occurs": (
        replace(LEFT, made_as=f"web-x{RUN[:12]}"),
        known(begun()),
        Verdict.FEIGNED,
    ),
    "a run so short that any name has it": (
        replace(LEFT, run="web", made_as="web-1"),
        known(begun()),
        Verdict.FEIGNED,
    ),
    "a night that nobody has begun": (
        replace(LEFT, run=OTHER, made_as=with_mark("web-1", OTHER)),
        known(begun()),
        Verdict.UNKNOWN,
    ),
    "a night of a home that was copied, while it may last": (
        LEFT,
        known(begun(ELSEWHERE), now=UNTIL - 1),
        Verdict.ALIVE,
    ),
    "the same, when it is over": (LEFT, known(begun(ELSEWHERE), now=UNTIL), Verdict.LEFT),
    "the same, begun by a clock that is wrong by years": (
        LEFT,
        known(begun(ELSEWHERE), now=BEGAN - 2 * GRACE_S),
        Verdict.LEFT,
    ),
    "a night of this home, killed a moment ago": (LEFT, known(begun()), Verdict.LEFT),
}


@pytest.mark.parametrize(("found", "state", "wanted"), ATTACKS.values(), ids=ATTACKS.keys())
def test_what_becomes_of(found: Found, state: Known, wanted: Verdict) -> None:
    """What is not ended is named, so that somebody can look."""
    assert verdict(found, state) is wanted
    if wanted is not Verdict.LEFT:
        assert found.instance in sentence(found, wanted, state)


def test_the_command_that_ends_it_is_told_only_of_what_a_night_has_made() -> None:
    """Nobody is led to end what only carries a tag."""
    told = {what: sentence(LEFT, what, known(begun(ELSEWHERE))) for what in Verdict if what is not Verdict.LEFT}
    assert [what for what, words in told.items() if LEFT.removal in words] == [Verdict.UNKNOWN]
    assert "until 1970-01-12 16:33 UTC" in told[Verdict.ALIVE]


def test_runs_cannot_be_guessed() -> None:
    """128 random bits, of which a server keeps the first 48 in its name."""
    runs = {new_id() for _ in range(1000)}
    assert len({run[:12] for run in runs}) == 1000
