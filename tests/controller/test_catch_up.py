"""What a host that asks is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.controller.test_admit import state_of

from clarion_controller.catch_up import PATIENCE, Errand, companions, errand, is_news, is_patient, own_walk
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_controller.streams import Sent, Walk
from clarion_protocol.documents import Head, Plan
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

NOW = 1000.0
LEASE_END = NOW + 30
SENT = Sent(Verb.STAGE, b"signal", 7, frozenset({"one", "two"}), at=NOW, until=NOW + 60)


def host(told: Verb | None, status: HostStatus, **fields: object) -> HostState:
    """Return a host's part in a deployment."""
    lease_until = LEASE_END if told is Verb.LEASE else 0.0
    return replace(HostState(name="web", told=told, status=status, lease_until=lease_until), **fields)


@pytest.mark.parametrize(
    ("part", "status", "expected"),
    [
        pytest.param(host(Verb.STAGE, HostStatus.PENDING), "running", (Verb.STAGE, 0.0), id="told to stage, silent"),
        pytest.param(host(Verb.STAGE, HostStatus.PULLING), "running", None, id="told to stage, at it"),
        pytest.param(host(None, HostStatus.PENDING), "running", None, id="never told"),
        pytest.param(host(Verb.LEASE, HostStatus.STAGED), "running", (Verb.LEASE, LEASE_END), id="leased, silent"),
        pytest.param(host(Verb.LEASE, HostStatus.CHECKING), "running", None, id="leased, at it"),
        pytest.param(
            host(Verb.LEASE, HostStatus.STAGED, lease_until=NOW - 1), "running", None, id="a lease that is over"
        ),
        pytest.param(host(Verb.LEASE, HostStatus.STAGED), "superseded", None, id="a lease of what is superseded"),
        pytest.param(host(Verb.LEASE, HostStatus.STAGED), "aborted", None, id="a lease of what was aborted"),
        pytest.param(
            host(Verb.ROLLBACK, HostStatus.COMMITTED), "rolled_back", (Verb.ROLLBACK, 0.0), id="back late from the dead"
        ),
        pytest.param(host(Verb.ROLLBACK, HostStatus.ROLLED_BACK), "rolled_back", None, id="back already"),
        pytest.param(host(Verb.ABORT, HostStatus.STAGED), "failed", (Verb.ABORT, 0.0), id="called off, silent"),
        pytest.param(host(Verb.ABORT, HostStatus.SKIPPED), "failed", None, id="called off, and has said so"),
        pytest.param(
            host(Verb.STAGE, HostStatus.UNREACHABLE, lost_as=HostStatus.PENDING),
            "running",
            (Verb.STAGE, 0.0),
            id="lost before it could begin",
        ),
    ],
)
def test_what_a_host_was_told_and_has_not_followed(part: HostState, status: str, expected: Errand | None) -> None:
    """An errand is open until the host shows that it follows, and while it still makes sense."""
    state = replace(state_of(Plan(), [part]), status=DeploymentStatus(status))
    assert errand(state, part, NOW) == expected


def test_one_signature_serves_all_with_the_same_errand() -> None:
    """Whoever waits for the same verb is named in the same signal."""
    silent, busy = host(Verb.STAGE, HostStatus.PENDING), host(Verb.STAGE, HostStatus.PULLING)
    state = state_of(Plan(), [silent, busy, silent])
    assert [state.hosts[id_].name for id_ in companions(state, (Verb.STAGE, 0.0), NOW)] == ["web-0", "web-2"]


@pytest.mark.parametrize(
    ("who", "seq", "now", "expected"),
    [
        ("one", 6, NOW, True),
        ("one", 7, NOW, False),
        ("other", 6, NOW, False),
        ("one", 6, NOW + 61, False),
    ],
    ids=["not seen yet", "accepted already", "not for it", "expired"],
)
def test_a_signal_is_sent_again_only_where_it_is_news(who: str, seq: int, now: float, *, expected: bool) -> None:
    """The very same bytes, while they are valid and above what the host has accepted."""
    assert is_news(SENT, who, Head(1, seq), now) is expected
    assert not is_news(None, who, Head(1, seq), now)


def test_a_host_that_has_just_accepted_is_given_time_to_say_so() -> None:
    """For a moment, nothing is signed anew; then it is."""
    assert is_patient(SENT, "one", Head(1, 7), NOW + PATIENCE - 1)
    assert not is_patient(SENT, "one", Head(1, 7), NOW + PATIENCE)
    assert not is_patient(SENT, "one", Head(1, 6), NOW)


def walk(status: DeploymentStatus, part: HostState | None) -> Walk:
    """Return a deployment in which "0…0" has this part."""
    state: RolloutState = replace(state_of(Plan(), [part] if part else []), status=status)
    return Walk(state, b"")


def test_a_host_belongs_to_the_newest_deployment_that_concerns_it() -> None:
    """One that ended badly before the host was ever told anything does not concern it."""
    me = f"{0:032x}"
    told, untold = host(Verb.STAGE, HostStatus.PULLING), host(None, HostStatus.PENDING)
    good = walk(DeploymentStatus.SUCCEEDED, told)
    assert own_walk([good], me) is good
    assert own_walk([walk(DeploymentStatus.RUNNING, None), good], me) is good
    assert own_walk([walk(DeploymentStatus.FAILED, untold), good], me) is good
    bad = walk(DeploymentStatus.ROLLED_BACK, told)
    assert own_walk([bad, good], me) is bad
    assert own_walk([], me) is None
