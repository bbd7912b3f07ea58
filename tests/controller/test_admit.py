"""Who may change next, for any fleet in any state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from clarion_controller.admit import admit, max_parallel
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_protocol.documents import Deployment, Plan, Targets
from clarion_protocol.words import HostStatus, Strategy, Verb

plans = st.builds(
    Plan,
    type=st.sampled_from(Strategy),
    max_parallel=st.one_of(st.integers(0, 30).map(str), st.integers(0, 100).map("{}%".format)),
)
hosts = st.builds(
    HostState,
    name=st.just("web"),
    status=st.sampled_from(HostStatus),
    told=st.sampled_from([None, *Verb]),
    lease_until=st.floats(0, 10),
)


def state_of(plan: Plan, hosts: list[HostState], absent: int = 0, halt: str = "") -> RolloutState:
    """Return a deployment to these hosts."""
    deployment = Deployment(
        id="d" * 32, cluster="c" * 32, environment="production", stream="production/shop", epoch=1, seq=1,
        app="shop", version="1", release=1, path="shop/shop-1.tar.zst", length=1, sha256="a" * 64,
        targets=Targets(all=True), plan=plan, issued_at=0, not_before=0, expires=1,
    )  # fmt: skip
    by_id = {f"{number:032x}": replace(host, name=f"web-{number}") for number, host in enumerate(hosts)}
    return RolloutState(
        deployment=deployment, digest="", accepted_at=0.0, hosts=by_id, absent=("x",) * absent, halt=halt
    )


def newly_admitted(state: RolloutState) -> list[str]:
    """Return who is admitted and had no place before: who was held back by a pause has kept its own."""
    return [id_ for id_ in admit(state) if not state.hosts[id_].is_held_back]


@given(plans, st.lists(hosts, max_size=40), st.integers(0, 5))
def test_never_more_than_max_parallel_are_in_change(plan: Plan, hosts: list[HostState], absent: int) -> None:
    """Whoever is admitted fits beside those who are in change already."""
    state = state_of(plan, hosts, absent)
    in_change = state.count(lambda host: host.is_in_change)
    newly = newly_admitted(state)
    assert not newly or in_change + len(newly) <= max_parallel(state)


@given(plans, st.lists(hosts, max_size=40))
def test_nobody_is_admitted_after_a_halt(plan: Plan, hosts: list[HostState]) -> None:
    """A halt is final for leases, whatever else is true."""
    assert admit(state_of(plan, hosts, halt="too many failed")) == []


@given(plans, st.lists(hosts, max_size=40))
def test_only_hosts_that_are_ready_and_wait_are_admitted(plan: Plan, hosts: list[HostState]) -> None:
    """Staged and without a lease; nobody twice."""
    state = state_of(plan, hosts)
    admitted = admit(state)
    assert len(set(admitted)) == len(admitted)
    assert all(state.hosts[id_].status is HostStatus.STAGED for id_ in admitted)
    assert all(state.hosts[id_].told is not Verb.LEASE for id_ in admitted)


@given(plans, st.lists(hosts, max_size=40), st.integers(0, 5))
def test_hosts_that_are_down_count_as_used(plan: Plan, hosts: list[HostState], absent: int) -> None:
    """Beyond the one that may always go, the batch is smaller by every host that is down."""
    state = state_of(plan, hosts, absent)
    down = state.count(lambda host: host.is_lost) + absent
    assert len(newly_admitted(state)) <= max(max_parallel(state) - down, 1)


@given(plans, st.lists(hosts, min_size=1, max_size=40), st.integers(0, 5))
def test_the_dead_never_block_the_living(plan: Plan, hosts: list[HostState], absent: int) -> None:
    """When nobody is in change and somebody is ready, somebody goes."""
    state = state_of(plan, hosts, absent)
    if state.count(lambda host: host.awaits_lease) and not state.count(lambda host: host.is_in_change):
        assert admit(state)


def test_a_batch_is_smaller_by_every_host_that_is_down() -> None:
    """Of eight, four may change at once; with one lost and one without agent, two."""
    staged = HostState(name="", status=HostStatus.STAGED, told=Verb.STAGE)
    lost = HostState(name="", status=HostStatus.UNREACHABLE, told=Verb.STAGE)
    assert len(admit(state_of(Plan(max_parallel="4"), [staged] * 8))) == 4
    assert len(admit(state_of(Plan(max_parallel="4"), [lost, *[staged] * 7], absent=1))) == 2
