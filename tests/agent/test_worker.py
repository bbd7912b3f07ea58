"""Expired means: no new change. What runs goes on, and the way back stays open."""

from __future__ import annotations

import msgspec
import pytest
from tests.agent.rig import Package, World

from clarion_agent.stages import pull
from clarion_protocol.documents import Deployment
from clarion_protocol.words import HostStatus, Verb


@pytest.fixture
def packages(world: World) -> tuple[Package, Package]:
    """Deploy two releases, so that the second one runs and the first one is still unpacked."""
    first, second = world.publish("1.0.0", 1), world.publish("2.0.0", 2)
    world.deploy(first)
    world.deploy(second)
    return first, second


def staged(world: World, package: Package) -> Deployment:
    """Order `package` and return once this host waits for its lease."""
    order = world.order(package)
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()
    assert world.last().status is HostStatus.STAGED
    return order


def lease(world: World, order: Deployment) -> None:
    """Give the lease, and return once this host has settled."""
    world.send(world.signal(order, Verb.LEASE))
    world.settle()


def expire(world: World) -> None:
    """Let the metadata expire, with a store that has nothing newer."""
    world.book.has_expired = True


def assert_refused(world: World, code: str) -> None:
    """Assert that this host said no, and why, and that nothing was touched."""
    assert (world.last().status, world.last().error) == (HostStatus.FAILED, code)
    assert "nothing was changed" in world.last().reason
    assert world.current() == world.services.runs == "2-2.0.0"
    assert world.services.restarts == ["1-1.0.0", "2-2.0.0"]


def test_expired_metadata_refuses_what_is_not_here(world: World, packages: tuple[Package, Package]) -> None:
    """A new release is not even fetched."""
    expire(world)
    before = world.store.fetched

    world.deploy(world.publish("3.0.0", 3))

    assert_refused(world, "signal.out_of_time")
    assert world.store.fetched == before


def test_expired_metadata_refuses_a_release_that_is_unpacked_already(
    world: World, packages: tuple[Package, Package]
) -> None:
    """That nothing needs to be fetched makes it no less of a change; the release stays unpacked."""
    expire(world)

    world.deploy(packages[0])

    assert_refused(world, "signal.out_of_time")
    assert (world.app / "releases/1-1.0.0").is_dir()


def test_metadata_that_expires_while_a_host_waits_for_its_lease_refuses_the_switch(
    world: World, packages: tuple[Package, Package]
) -> None:
    """What counts is the moment of the switch."""
    order = staged(world, world.publish("3.0.0", 3))
    expire(world)

    lease(world, order)

    assert_refused(world, "signal.out_of_time")


def test_a_key_that_is_withdrawn_while_a_host_waits_for_its_lease_refuses_the_switch(
    world: World, packages: tuple[Package, Package]
) -> None:
    """An order of somebody who may not order any more is not carried out, though it was accepted."""
    order = staged(world, world.publish("3.0.0", 3))
    world.book.its_policy = msgspec.structs.replace(world.policy, deployers=[world.beaconer.public_hex])

    lease(world, order)

    assert_refused(world, "signal.bad_signature")


@pytest.mark.parametrize("is_staged_before", [True, False], ids=["at the switch", "when it is unpacked already"])
def test_a_store_that_has_newer_metadata_is_asked_before_anything_is_refused(
    world: World, packages: tuple[Package, Package], is_staged_before: bool
) -> None:
    """A host that was deployed to a week ago knows only old metadata; that is no reason to refuse."""

    def renew() -> None:
        world.book.has_expired = False

    order = staged(world, packages[0]) if is_staged_before else None
    expire(world)
    world.store.on_refresh = renew

    if order:
        lease(world, order)
    else:
        world.deploy(packages[0])

    assert world.last().status is HostStatus.COMMITTED
    assert world.current() == "1-1.0.0"


def test_a_store_that_is_away_stops_nothing_that_is_here_and_fresh(
    world: World, packages: tuple[Package, Package], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that is unpacked needs no store, while the metadata holds."""
    monkeypatch.setattr(pull, "PATIENCE_S", ())
    world.store.is_away = True

    world.deploy(packages[0])

    assert world.last().status is HostStatus.COMMITTED


def test_a_lease_that_runs_out_while_the_store_is_asked_gives_no_right(
    world: World, packages: tuple[Package, Package]
) -> None:
    """The host waits for the next lease, and then switches."""

    def renew_late() -> None:
        world.book.has_expired = False
        world.clock += 61

    order = staged(world, packages[0])
    expire(world)
    world.store.on_refresh = renew_late
    lease(world, order)
    assert world.current() == "2-2.0.0"
    assert world.last().status is HostStatus.STAGED

    lease(world, order)

    assert world.last().status is HostStatus.COMMITTED


def test_a_way_back_stays_open_though_everything_has_expired(world: World, packages: tuple[Package, Package]) -> None:
    """`clarion rollback` goes to what is unpacked, with a store that is away as well."""
    expire(world)
    world.store.is_away = True

    world.rollback(packages[0])

    assert world.last().status is HostStatus.COMMITTED
    assert world.current() == world.services.runs == "1-1.0.0"


def test_a_rollback_signal_is_followed_though_everything_has_expired(
    world: World, packages: tuple[Package, Package]
) -> None:
    """What a deployment has changed can be taken back whatever the metadata says."""
    order = world.deploy(world.publish("3.0.0", 3))
    expire(world)
    world.store.is_away = True

    world.send(world.signal(order, Verb.ROLLBACK, reason="too slow"))
    world.settle()

    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.current() == world.services.runs == "2-2.0.0"


def test_a_killed_switch_is_finished_though_everything_has_expired(
    world: World, packages: tuple[Package, Package]
) -> None:
    """What was begun is not left half done: expired metadata keeps only new changes from being begun."""

    def die() -> None:
        raise SystemExit

    world.services.on_restart = die
    world.send(order := world.order(world.publish("3.0.0", 3)))
    world.send(world.signal(order, Verb.LEASE))
    world.settle()
    expire(world)
    world.store.is_away = True
    world.services.on_restart = lambda: None

    world.restart_agent()

    assert world.last().status is HostStatus.COMMITTED
    assert world.current() == world.services.runs == "3-3.0.0"
