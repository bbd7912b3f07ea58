"""The core half: from signed envelopes to what runs."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import msgspec
import pytest
from tests.agent.rig import APP, CLARION_TOML, OTHER_HOST, STREAM, Gate, World

from clarion_agent import durable
from clarion_agent.journal import Intent, Journal, Phase
from clarion_agent.stages import pull
from clarion_protocol.documents import Head, Plan, Progress, Targets, digest_of
from clarion_protocol.errors import (
    BadEnvelope,
    NoSpace,
    NotAuthorised,
    OutOfTime,
    StaleSequence,
    StoreUnavailable,
    TrustStateLost,
    WrongAddress,
)
from clarion_protocol.manifest import Manifest
from clarion_protocol.manifest_file import read_manifest, write_manifest
from clarion_protocol.policy import Policy
from clarion_protocol.words import HostStatus, Stage, Verb

ALL_STAGES = [
    HostStatus.PULLING,
    HostStatus.VERIFYING,
    HostStatus.TESTING,
    HostStatus.STAGED,
    HostStatus.DRAINING,
    HostStatus.ACTIVATING,
    HostStatus.CHECKING,
    HostStatus.BAKING,
    HostStatus.COMMITTED,
]


def test_a_deployment_goes_through_all_stages(world: World) -> None:
    """A host pulls, verifies, unpacks, tests, waits for its lease, switches, checks and commits."""
    package = world.publish("1.0.0", 1)

    world.deploy(package)

    assert world.statuses() == ALL_STAGES
    assert world.current() == world.services.runs == "1-1.0.0"
    assert [(running.version, running.is_active) for running in world.core.running()] == [("1.0.0", True)]


def test_an_update_fetches_only_what_changed(world: World) -> None:
    """Files that the running release has are linked, not fetched again."""
    world.deploy(world.publish("1.0.0", 1, big="x" * 100_000))
    before = world.store.fetched

    second = world.publish("2.0.0", 2, big="x" * 100_000)
    world.deploy(second)

    fetched = world.store.fetched - before - second.release.manifest.length
    assert world.current() == "2-2.0.0"
    assert fetched < second.release.length
    assert (world.app / "releases/1-1.0.0/big").stat().st_ino == (world.app / "current/big").stat().st_ino


def test_without_a_lease_nothing_switches(world: World) -> None:
    """A host that has staged waits, however long."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.order(world.publish("2.0.0", 2))

    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()

    assert world.last().status is HostStatus.STAGED
    assert world.current() == world.services.runs == "1-1.0.0"


@pytest.mark.parametrize(
    "lease",
    [
        pytest.param({"targets": Targets(hosts=[OTHER_HOST])}, id="a lease for another host"),
        pytest.param({"targets": Targets()}, id="a lease for nobody"),
    ],
)
def test_a_lease_counts_only_for_the_host_that_it_names(world: World, lease: dict[str, object]) -> None:
    """A lease for somebody else raises the floor and gives no right."""
    order = world.order(world.publish("1.0.0", 1))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()

    sent = world.signal(order, Verb.LEASE, **lease)
    world.send(sent)
    world.settle()

    assert world.current() is None
    assert world.core.heads()[STREAM].signal_seq == sent.seq


def test_a_lease_that_ran_out_during_staging_gives_no_right(world: World) -> None:
    """What counts is the moment of the switch, not the moment at which the lease came."""
    order = world.order(world.publish("1.0.0", 1))
    gate = Gate()
    world.box.on_run = gate
    world.send(order)
    world.send(world.signal(order, Verb.LEASE))
    assert gate.reached.wait(10)

    world.clock += 61
    gate.opened.set()
    world.settle()

    assert world.last().status is HostStatus.STAGED
    assert world.current() is None


def test_a_pause_takes_the_lease_back_and_the_next_lease_goes_on(world: World) -> None:
    """A paused host finishes staging and does not switch."""
    order = world.order(world.publish("1.0.0", 1))
    gate = Gate()
    world.box.on_run = gate
    world.send(order)
    world.send(world.signal(order, Verb.LEASE))
    assert gate.reached.wait(10)
    world.send(world.signal(order, Verb.PAUSE))
    gate.opened.set()
    world.settle()
    assert world.current() is None

    world.send(world.signal(order, Verb.LEASE))
    world.settle()

    assert world.last().status is HostStatus.COMMITTED


def test_a_slow_store_does_not_make_a_host_deaf(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an app's thread asks for the policy, messages are taken and systemd is told that the agent lives."""
    order = world.order(world.publish("1.0.0", 1))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()
    gate = Gate()

    def policy(environment: str) -> Policy:
        if threading.current_thread().name.startswith("app ") and not gate.opened.is_set():
            raise StoreUnavailable("nothing was fetched yet")
        return world.policy

    monkeypatch.setattr(world.book, "policy", policy)
    world.store.on_refresh = gate
    world.send(world.signal(order, Verb.LEASE))
    assert gate.reached.wait(10)
    asks = threading.Thread(target=world.core.heads, daemon=True)
    asks.start()
    asks.join(2)
    is_deaf = asks.is_alive()
    gate.opened.set()
    world.settle()

    assert not is_deaf
    assert world.last().status is HostStatus.COMMITTED


@pytest.mark.parametrize("comes", ["a pause", "a newer deployment"])
def test_what_comes_while_the_store_is_asked_a_last_time_takes_the_lease_back(world: World, comes: str) -> None:
    """A host with a valid lease and expired metadata asks the store before it switches; that may take minutes."""
    order = world.order(world.publish("1.0.0", 1))
    newer = world.order(world.publish("2.0.0", 2))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()
    gate = Gate()
    world.book.has_expired = True

    def answer() -> None:
        gate()
        world.book.has_expired = False

    world.store.on_refresh = answer
    world.send(world.signal(order, Verb.LEASE))
    assert gate.reached.wait(10)
    world.send(world.signal(order, Verb.PAUSE) if comes == "a pause" else newer)
    gate.opened.set()
    world.settle()

    assert world.current() is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param("sick", "host.unhealthy", id="it starts and is never healthy"),
        pytest.param("broken", "host.restart_failed", id="it does not start"),
    ],
)
def test_a_bad_release_goes_back_by_itself(world: World, kind: str, code: str) -> None:
    """What ran before runs again, the flag is down, and the report says why and shows the log."""
    world.deploy(world.publish("1.0.0", 1))
    getattr(world.services, kind).add("2.0.0")

    world.deploy(world.publish("2.0.0", 2))

    assert (world.last().status, world.last().error) == (HostStatus.ROLLED_BACK, code)
    assert "back on 1-1.0.0" in world.last().reason
    assert "shop.service says: 2-2.0.0" in world.last().log
    assert world.current() == world.services.runs == "1-1.0.0"
    assert not (world.app / "draining").exists()


def test_a_first_release_that_is_bad_leaves_nothing_running(world: World) -> None:
    """There is nothing to go back to, so the link goes and the unit is stopped."""
    world.services.sick.add("1.0.0")

    world.deploy(world.publish("1.0.0", 1))

    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.current() is None
    assert world.services.runs is None


def test_when_going_back_fails_too_the_host_has_failed(world: World) -> None:
    """A host on which nothing runs any more must not look like one that went back."""
    world.deploy(world.publish("1.0.0", 1))
    world.services.sick |= {"1.0.0", "2.0.0"}

    world.deploy(world.publish("2.0.0", 2))

    assert world.last().status is HostStatus.FAILED
    assert "then, going back" in world.last().reason
    assert world.current() == "1-1.0.0"
    assert not (world.app / "draining").exists()


def test_failing_tests_stop_before_anything_changes(world: World) -> None:
    """The package's own tests decide before the lease; the release is removed again."""
    world.deploy(world.publish("1.0.0", 1))
    world.box.failing.add("2.0.0")

    world.deploy(world.publish("2.0.0", 2))

    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "package.tests_failed")
    assert world.last().log == "self-test printed this"
    assert [path.name for path in (world.app / "releases").iterdir()] == ["1-1.0.0"]
    assert world.services.restarts == ["1-1.0.0"]


def test_a_release_that_failed_can_be_deployed_again(world: World) -> None:
    """A failure leaves nothing that stands in the way of the next attempt."""
    world.deploy(world.publish("1.0.0", 1))
    second = world.publish("2.0.0", 2)
    world.services.sick.add("2.0.0")
    world.deploy(second)

    world.services.sick.clear()
    world.deploy(second)

    assert world.last().status is HostStatus.COMMITTED
    assert world.current() == world.services.runs == "2-2.0.0"


def test_an_abort_before_the_switch_skips(world: World) -> None:
    """An aborted host changes nothing, and a later lease does not revive it."""
    order = world.order(world.publish("1.0.0", 1))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()

    world.send(world.signal(order, Verb.ABORT, reason="called off"))
    world.send(world.signal(order, Verb.LEASE))
    world.settle()

    assert (world.last().status, world.last().reason) == (HostStatus.SKIPPED, "called off")
    assert world.current() is None


def test_an_abort_in_the_danger_zone_is_an_undo(world: World) -> None:
    """The host does not stop halfway: it goes back."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.order(world.publish("2.0.0", 2))
    gate = Gate()
    world.send(order)
    world.services.on_restart = gate
    world.send(world.signal(order, Verb.LEASE))
    assert gate.reached.wait(10)

    world.send(world.signal(order, Verb.ABORT, reason="called off"))
    world.services.on_restart = lambda: None
    gate.opened.set()
    world.settle()

    assert (world.last().status, world.last().error) == (HostStatus.ROLLED_BACK, "host.interrupted")
    assert world.current() == world.services.runs == "1-1.0.0"


def test_an_abort_while_draining_restarts_nothing(world: World) -> None:
    """What runs was not touched yet; only the flag comes down."""
    world.deploy(world.publish("1.0.0", 1))
    slow = CLARION_TOML.format(keep=5) + '[drain]\nwait = "20s"\n'
    order = world.order(world.publish("2.0.0", 2, **{"clarion.toml": slow}))
    draining = threading.Event()
    world.store.on_report = lambda report: draining.set() if report.stage is Stage.DRAIN else None
    world.send(order)
    world.send(world.signal(order, Verb.LEASE))
    assert draining.wait(10)

    world.send(world.signal(order, Verb.ABORT))
    world.settle()

    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.services.restarts == ["1-1.0.0"]
    assert not (world.app / "draining").exists()


def test_an_agent_that_is_stopped_in_the_danger_zone_goes_on_when_it_is_back(world: World) -> None:
    """It ends at once, undoes nothing, and the next one finishes within the lease."""
    world.deploy(world.publish("1.0.0", 1))
    slow = CLARION_TOML.format(keep=5) + '[drain]\nwait = "3s"\n'
    order = world.order(world.publish("2.0.0", 2, **{"clarion.toml": slow}))
    draining = threading.Event()
    world.store.on_report = lambda report: draining.set() if report.stage is Stage.DRAIN else None
    world.send(order)
    world.send(world.signal(order, Verb.LEASE))
    assert draining.wait(10)

    begin = time.monotonic()
    world.core.close()
    assert time.monotonic() - begin < 2
    assert world.current() == "1-1.0.0"
    world.core = world.new_core()
    world.settle()

    assert world.last().status is HostStatus.COMMITTED
    assert world.services.restarts == ["1-1.0.0", "2-2.0.0"]


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        pytest.param(1, HostStatus.COMMITTED, id="once may be chance"),
        pytest.param(2, HostStatus.ROLLED_BACK, id="twice in a row is not"),
    ],
)
def test_a_release_that_falls_ill_while_it_bakes_goes_back(world: World, failures: int, status: HostStatus) -> None:
    """Health is watched under traffic for as long as the plan says."""
    world.deploy(world.publish("1.0.0", 1))

    def fall_ill(report: Progress) -> None:
        if report.stage is Stage.BAKE:
            world.services.ill_looks = failures

    world.store.on_report = fall_ill
    world.deploy(world.publish("2.0.0", 2), plan=Plan(bake_time=0.3))

    assert world.last().status is status, world.last().reason
    assert world.current() == ("2-2.0.0" if status is HostStatus.COMMITTED else "1-1.0.0")


def test_a_newer_deployment_cancels_one_that_is_still_staging(world: World) -> None:
    """The old one says so, and the new one is staged."""
    old, new = world.order(world.publish("1.0.0", 1)), world.order(world.publish("2.0.0", 2))
    gate = Gate()
    world.store.on_fetch = gate
    world.send(old)
    world.send(world.signal(old, Verb.STAGE))
    assert gate.reached.wait(10)

    world.send(new)
    world.send(world.signal(new, Verb.STAGE))
    world.store.on_fetch = lambda: None
    gate.opened.set()
    world.settle()

    ended = {report.deployment: report.status for report in world.store.reports}
    assert ended == {old.id: HostStatus.SKIPPED, new.id: HostStatus.STAGED}
    assert [path.name for path in (world.app / "releases").iterdir()] == ["2-2.0.0"]


def test_a_newer_deployment_waits_for_the_danger_zone(world: World) -> None:
    """What has begun to switch is finished first."""
    old, new = world.order(world.publish("1.0.0", 1)), world.order(world.publish("2.0.0", 2))
    gate = Gate()
    world.services.on_restart = gate
    world.send(old)
    world.send(world.signal(old, Verb.LEASE))
    assert gate.reached.wait(10)

    world.send(new)
    world.send(world.signal(new, Verb.LEASE))
    world.services.on_restart = lambda: None
    gate.opened.set()
    world.settle()

    ended = {report.deployment: report.status for report in world.store.reports}
    assert ended == {old.id: HostStatus.COMMITTED, new.id: HostStatus.COMMITTED}
    assert world.current() == "2-2.0.0"


def test_a_rollback_signal_returns_to_what_ran_before(world: World) -> None:
    """No download, no test, one restart, and the report says where the host is."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.deploy(world.publish("2.0.0", 2))
    fetched, jobs = world.store.fetched, len(world.box.jobs)

    world.send(world.signal(order, Verb.ROLLBACK, reason="too many failed"))
    world.settle()

    assert (world.last().status, world.last().reason) == (HostStatus.ROLLED_BACK, "back on 1-1.0.0")
    assert world.current() == world.services.runs == "1-1.0.0"
    assert (world.store.fetched, len(world.box.jobs)) == (fetched, jobs)


def test_a_rollback_signal_goes_to_the_release_that_deployers_named(world: World) -> None:
    """`go_back_to` comes before what ran before, if it is unpacked here."""
    first = world.publish("1.0.0", 1)
    world.deploy(first)
    world.deploy(world.publish("2.0.0", 2))
    order = world.deploy(world.publish("3.0.0", 3), go_back_to=first.ref)

    world.send(world.signal(order, Verb.ROLLBACK))
    world.settle()

    assert world.current() == world.services.runs == "1-1.0.0"


def test_a_rollback_signal_is_followed_once(world: World) -> None:
    """After it, further signals of that deployment move nothing."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.deploy(world.publish("2.0.0", 2))
    for verb in (Verb.ROLLBACK, Verb.ROLLBACK, Verb.LEASE):
        world.send(world.signal(order, verb))
    world.settle()

    assert world.services.restarts == ["1-1.0.0", "2-2.0.0", "1-1.0.0"]


def test_a_rollback_signal_skips_a_host_that_never_switched(world: World) -> None:
    """There is nothing to take back on it."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.order(world.publish("2.0.0", 2))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()

    world.send(world.signal(order, Verb.ROLLBACK))
    world.settle()

    assert world.last().status is HostStatus.SKIPPED
    assert world.services.restarts == ["1-1.0.0"]


def test_a_rollback_with_nothing_to_go_back_to_fails(world: World) -> None:
    """It says so and leaves running what runs."""
    order = world.deploy(world.publish("1.0.0", 1))

    world.send(world.signal(order, Verb.ROLLBACK))
    world.settle()

    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "host.nothing_to_go_back_to")
    assert world.current() == "1-1.0.0"


def test_a_rollback_deployment_neither_downloads_nor_tests(world: World) -> None:
    """It shares none of the causes of failure of going forward, not even the store."""
    first = world.publish("1.0.0", 1)
    world.deploy(first)
    world.deploy(world.publish("2.0.0", 2))
    world.store.is_away = True
    world.box.failing.add("1.0.0")
    world.store.reports.clear()

    world.rollback(first)

    assert world.statuses() == [
        HostStatus.STAGED,
        HostStatus.ACTIVATING,
        HostStatus.CHECKING,
        HostStatus.BAKING,
        HostStatus.COMMITTED,
    ]
    assert world.current() == world.services.runs == "1-1.0.0"


def test_a_host_that_is_already_on_the_release_does_not_fail_because_another_did(world: World) -> None:
    """Called back in the middle of its check, it says that nothing was to be done, not that it is broken."""
    slow_check = CLARION_TOML.format(keep=5).replace('min_healthy_time = "0s"', 'min_healthy_time = "60ms"')
    slow_check += '[[health.check]]\nexec = "look"\n'
    package = world.publish("1.0.0", 1, **{"clarion.toml": slow_check})
    world.deploy(package)
    order = world.order(package)
    world.store.reports.clear()
    gate = Gate()
    world.box.on_run = gate
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    assert gate.reached.wait(10)
    world.send(world.signal(order, Verb.ROLLBACK, reason="web-2 failed"))
    gate.opened.set()
    world.settle()

    assert HostStatus.FAILED not in world.statuses()
    assert world.services.restarts == ["1-1.0.0"]


def test_a_host_that_is_already_on_the_release_is_only_checked(world: World) -> None:
    """No restart and no lease are needed where nothing changes."""
    package = world.publish("1.0.0", 1)
    world.deploy(package)
    order = world.order(package)

    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()

    assert (world.last().status, world.last().reason) == (HostStatus.COMMITTED, "already on it")
    assert world.services.restarts == ["1-1.0.0"]


def test_the_flag_is_up_from_before_the_restart_until_after_the_check(world: World) -> None:
    """Traffic is away while the service is."""
    seen: dict[Stage | None, bool] = {}

    def look(report: Progress) -> None:
        seen[report.stage] = (world.app / "draining").exists()

    world.store.on_report = look
    world.deploy(world.publish("1.0.0", 1))

    assert seen[Stage.DRAIN] is False
    assert [seen[stage] for stage in (Stage.ACTIVATE, Stage.RESTART, Stage.CHECK, Stage.READY)] == [True] * 4
    assert seen[Stage.BAKE] is False


def test_old_releases_are_removed_but_never_the_one_to_go_back_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`keep_releases` counts the running one."""
    world = World(tmp_path_factory.mktemp("world"), keep=2)
    for number in (1, 2, 3):
        world.deploy(world.publish(f"{number}.0.0", number))
    world.core.close()

    assert sorted(path.name for path in (world.app / "releases").iterdir()) == ["2-2.0.0", "3-3.0.0"]
    assert sorted(path.name for path in (world.app / "state").glob("*.json*")) == [
        "2-2.0.0.manifest.json.zst",
        "2-2.0.0.release.json",
        "3-3.0.0.manifest.json.zst",
        "3-3.0.0.release.json",
        "journal.json",
    ]


def test_a_report_that_cannot_be_written_fails_nothing(world: World) -> None:
    """What only informs can never fail a deployment."""

    def refuse(report: Progress) -> None:
        raise OSError("disk full")

    world.store.on_report = refuse
    world.deploy(world.publish("1.0.0", 1))

    assert world.current() == world.services.runs == "1-1.0.0"


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        pytest.param("another length", "signal.wrong_address", id="the metadata says something else than the order"),
        pytest.param("no metadata", "package.unknown", id="the package is not published"),
        pytest.param("manifest", "package.bad_content", id="the manifest was changed by one bit"),
        pytest.param("archive", "package.bad_content", id="the archive was changed by one bit"),
        pytest.param("truncated", "package.bad_content", id="the archive ends early"),
        pytest.param("units", "host.unit_not_allowed", id="it wants to restart a unit that this host does not allow"),
        pytest.param("store", "network.store_unavailable", id="the store is away"),
        pytest.param("key", "signal.bad_signature", id="the deployer's key was withdrawn meanwhile"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, harm: str, code: str
) -> None:
    """The error is a code, the running release stays, and a good deployment works right afterwards."""
    monkeypatch.setattr(pull, "PATIENCE_S", (0.01, 0.01))
    good = world.publish("1.0.0", 1)
    world.deploy(good)
    before = sorted((world.app / "releases").iterdir())
    wanted = world.publish("2.0.0", 2, **_with_other_unit() if harm == "units" else {})
    order = world.order(wanted)
    world.send(order)
    _harm(world, harm)

    world.send(world.signal(order, Verb.LEASE))
    world.settle()

    assert (world.last().status, world.last().error) == (HostStatus.FAILED, code), world.last().reason
    assert sorted((world.app / "releases").iterdir()) == before
    assert list((world.app / "staging").iterdir()) == []
    assert world.services.restarts == ["1-1.0.0"]
    _heal(world)
    world.deploy(world.publish("3.0.0", 3))
    assert world.current() == "3-3.0.0"


def test_a_unit_that_is_not_allowed_any_more_is_noticed_before_anything_switches(world: World) -> None:
    """Also if the release is unpacked here already, from a time when it was."""
    old = world.publish("1.0.0", 1)
    world.deploy(old)
    world.deploy(world.publish("2.0.0", 2))
    allowed = world.config
    world.config = msgspec.structs.replace(allowed, app={})
    world.restart_agent()
    world.deploy(old)

    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "host.unit_not_allowed")
    assert world.last().reason.endswith("nothing was changed")
    assert HostStatus.DRAINING not in world.statuses()[-4:]
    assert world.current() == world.services.runs == "2-2.0.0"
    world.config = allowed
    world.restart_agent()
    world.deploy(old)
    assert world.current() == "1-1.0.0"


def _with_other_unit() -> dict[str, str]:
    return {"clarion.toml": '[app]\nname = "shop"\nunits = ["sshd.service"]\n'}


def _harm(world: World, harm: str) -> None:
    release = world.book.releases["2.0.0"]
    archive, manifest = release.path, release.manifest_path
    files = world.store.files
    if harm == "another length":
        world.book.releases["2.0.0"] = msgspec.structs.replace(release, length=release.length + 1)
    elif harm == "no metadata":
        del world.book.releases["2.0.0"]
    elif harm == "manifest":
        listing = read_manifest(files[manifest], release.manifest).to_bytes()
        files[manifest] = write_manifest(Manifest.parse(listing.replace(b"0644", b"0755", 1)))
    elif harm == "archive":
        files[archive] = _with_a_flipped_bit(files[archive], 40)
    elif harm == "truncated":
        files[archive] = files[archive][:50]
    elif harm == "store":
        world.store.is_away = True
    elif harm == "key":
        world.book.its_policy = msgspec.structs.replace(world.policy, deployers=[world.beaconer.public_hex])


def _with_a_flipped_bit(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def _heal(world: World) -> None:
    world.store.is_away = False
    world.book.its_policy = world.policy


def test_a_full_disk_refuses_before_anything_is_fetched(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The reason names what is free, what is needed and what is reserved."""
    world = World(tmp_path_factory.mktemp("world"))
    world.config = msgspec.structs.replace(world.config, disk_reserve=type(world.config.disk_reserve)(2**60))
    world.core.close()
    world.core = world.new_core()
    package = world.publish("1.0.0", 1)

    world.deploy(package)
    world.core.close()

    assert world.last().error == "host.no_space"
    assert "free" in world.last().reason
    assert "reserves 1152921.5 TB" in world.last().reason
    assert world.store.fetched == package.release.manifest.length


def test_the_same_envelopes_again_do_nothing(world: World) -> None:
    """A replay is harmless now, and after the agent was restarted."""
    order = world.order(world.publish("1.0.0", 1))
    lease = world.signal(order, Verb.LEASE)
    envelopes = [world.send(order), world.send(lease)]
    world.settle()

    for _ in range(2):
        for envelope in envelopes:
            world.core.offer(envelope)
        world.settle()
        world.restart_agent()

    assert world.services.restarts == ["1-1.0.0"]


def test_older_orders_are_refused(world: World) -> None:
    """Once a newer deployment is accepted, nothing of the older one is followed."""
    old = world.order(world.publish("1.0.0", 1))
    late = world.signal(old, Verb.LEASE)
    world.deploy(world.publish("2.0.0", 2))

    with pytest.raises(StaleSequence):
        world.send(old)
    with pytest.raises(WrongAddress):
        world.send(late)

    assert world.current() == "2-2.0.0"


def test_an_expired_order_is_not_begun(world: World) -> None:
    """Expired means: no new change."""
    order = world.order(world.publish("1.0.0", 1))
    world.clock += 86_401

    with pytest.raises(OutOfTime):
        world.send(order)


def test_a_clock_that_is_set_back_revives_nothing(world: World) -> None:
    """The time that a beacon has proved is remembered across restarts."""
    order = world.order(world.publish("1.0.0", 1))
    lease = world.signal(order, Verb.LEASE)
    world.send(order)
    world.clock += 3_600
    world.send(world.beacon(shop=Head()))

    world.clock -= 3_600
    world.restart_agent()

    with pytest.raises(OutOfTime):
        world.send(lease)


def test_a_beacon_shows_what_was_missed(world: World) -> None:
    """A head that is ahead of what this host has accepted means that something was withheld."""
    order = world.deploy(world.publish("1.0.0", 1))
    world.send(world.beacon(shop=world.core.heads()[STREAM]))
    assert not world.core.missed()

    world.clock += 1
    world.send(world.beacon(shop=Head(order.seq + 10, order.seq + 11)))

    assert world.core.missed()


def test_a_signal_before_its_deployment_is_refused_and_comes_again(world: World) -> None:
    """Nothing of it is remembered, so that it is accepted when its turn has come."""
    order = world.order(world.publish("1.0.0", 1))
    lease = world.signal(order, Verb.LEASE)
    with pytest.raises(WrongAddress):
        world.send(lease)

    world.send(order)
    world.send(lease)
    world.settle()

    assert world.last().status is HostStatus.COMMITTED


def test_a_report_is_no_order(world: World) -> None:
    """A host takes deployments, signals and beacons, and nothing else."""
    raw = world.seal(world.order(world.publish("1.0.0", 1))).replace(b"deployment.v1", b"report.v1")

    with pytest.raises(BadEnvelope):
        world.core.offer(raw)


def test_a_host_that_lost_its_floors_refuses_everything(world: World) -> None:
    """It cannot tell new from replayed, so it changes nothing, and keeps running what runs."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.order(world.publish("2.0.0", 2))
    world.core.close()
    for copy in world.config.trust.glob("floors-*.json"):
        copy.write_bytes(b"{}")

    world.core = world.new_core()

    for document in (order, world.signal(world.orders[0], Verb.ROLLBACK)):
        with pytest.raises(TrustStateLost):
            world.send(document)
    world.settle()
    assert "floors-a.json" in world.core.trouble()
    assert world.core.heads() == {}
    assert world.current() == world.services.runs == "1-1.0.0"
    assert world.services.restarts == ["1-1.0.0"]


def test_a_host_that_lost_its_floors_keeps_its_line(world: World) -> None:
    """A beacon changes nothing here, and without any the agent would take its line for dead."""
    world.core.close()
    for copy in world.config.trust.glob("floors-*.json"):
        copy.unlink()
    world.core = world.new_core()

    world.send(world.beacon(shop=Head(9, 9)))

    assert not world.core.missed()
    assert not list(world.config.trust.glob("floors-*.json"))


def test_floors_that_are_put_back_do_not_count_before_the_next_start(world: World) -> None:
    """An older copy would let a replayed order pass as new."""
    world.deploy(world.publish("1.0.0", 1))
    copies = {copy: copy.read_bytes() for copy in world.config.trust.glob("floors-*.json")}
    world.core.close()
    for copy in copies:
        copy.unlink()
    world.core = world.new_core()
    for copy, content in copies.items():
        copy.write_bytes(content)

    with pytest.raises(TrustStateLost):
        world.send(world.order(world.publish("2.0.0", 2)))


def test_a_host_that_lost_its_floors_ends_what_it_had_begun(world: World) -> None:
    """A drained host is a debt; but a lease that nobody can vouch for any more lets nothing go on."""
    world.deploy(world.publish("1.0.0", 1))
    order = world.order(world.publish("2.0.0", 2))
    world.send(order)
    world.send(world.signal(order, Verb.STAGE))
    world.settle()
    journal = world.app / "state/journal.json"
    begun = Intent(
        app="shop",
        deployment=order.id,
        digest=digest_of(order),
        stream=order.stream,
        before="1-1.0.0",
        to="2-2.0.0",
        phase=Phase.SWITCHING,
        stage=Stage.DRAIN,
        is_drained=True,
        lease_until=int(world.clock) + 60,
    )
    world.core.close()
    Journal(journal).write(begun)
    (world.app / "draining").touch()
    for copy in world.config.trust.glob("floors-*.json"):
        copy.unlink()

    world.core = world.new_core()
    world.settle()

    assert not (world.app / "draining").exists()
    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.current() == world.services.runs == "1-1.0.0"


def test_an_agent_that_fails_itself_tries_again_at_the_next_order(world: World) -> None:
    """A defect of the agent, or a disk that is full for a while, must not leave a host half switched for ever."""
    world.deploy(world.publish("1.0.0", 1))
    is_full = True

    def fill(operation: str, path: Path) -> None:
        is_worker = threading.current_thread().name.startswith("app ")
        if is_full and is_worker and world.services.restarts[-1] == "2-2.0.0":
            raise OSError(errno.ENOSPC, "No space left on device")

    durable.watchers.append(fill)
    try:
        order = world.deploy(world.publish("2.0.0", 2))
    finally:
        durable.watchers.remove(fill)
    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "host.no_space")

    is_full = False
    world.send(world.signal(order, Verb.ROLLBACK))
    world.settle()

    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.current() == world.services.runs == "1-1.0.0"
    assert not (world.app / "draining").exists()


def test_an_agent_that_failed_itself_repays_without_an_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk has room again a drained host comes back by itself, and says how it stands."""
    monkeypatch.setattr("clarion_agent.worker.REPAY_S", 0.1)
    world.deploy(world.publish("1.0.0", 1))
    is_full = False

    def fill(operation: str, path: Path) -> None:
        nonlocal is_full
        is_full = is_full or path.name == "draining"
        if is_full and threading.current_thread().name.startswith("app "):
            raise OSError(errno.ENOSPC, "No space left on device")

    durable.watchers.append(fill)
    try:
        world.deploy(world.publish("2.0.0", 2))
    finally:
        durable.watchers.remove(fill)
    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "host.no_space")

    deadline = time.monotonic() + 10
    while world.last().status is not HostStatus.ROLLED_BACK and time.monotonic() < deadline:
        time.sleep(0.02)

    assert world.last().status is HostStatus.ROLLED_BACK
    assert world.current() == world.services.runs == "1-1.0.0"
    assert not (world.app / "draining").exists()
    assert world.services.restarts == ["1-1.0.0"]


def test_a_journal_that_the_disk_does_not_give_does_not_end_the_worker(world: World) -> None:
    """It is reported, and the next order is followed when the disk works again."""
    world.deploy(world.publish("1.0.0", 1))
    journal = world.app / "state/journal.json"
    journal.unlink()
    journal.mkdir()
    world.deploy(world.publish("2.0.0", 2))
    assert (world.last().status, world.last().error) == (HostStatus.FAILED, "host")
    journal.rmdir()

    world.deploy(world.publish("3.0.0", 3))

    assert world.last().status is HostStatus.COMMITTED
    assert world.current() == "3-3.0.0"


def test_a_floor_that_cannot_be_written_is_an_error_and_nothing_is_begun(world: World) -> None:
    """What cannot be remembered is not acted on."""
    order = world.order(world.publish("1.0.0", 1))

    def fill(operation: str, path: Path) -> None:
        if path.name.startswith("floors-"):
            raise OSError(errno.ENOSPC, "No space left on device")

    durable.watchers.append(fill)
    try:
        with pytest.raises(NoSpace):
            world.send(order)
    finally:
        durable.watchers.remove(fill)

    assert world.core.heads() == {}
    world.send(order)
    assert world.core.heads()[STREAM].deployment_seq == order.seq


def test_a_full_disk_does_not_make_a_host_deaf(world: World) -> None:
    """A beacon whose time cannot be kept on the disk still counts."""

    def fill(operation: str, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    durable.watchers.append(fill)
    try:
        world.send(world.beacon(shop=Head(9, 9)))
    finally:
        durable.watchers.remove(fill)

    assert world.core.missed()


@pytest.mark.parametrize("journal", [None, b"", b"{}", b"half of it"], ids=["none", "empty", "foreign", "damaged"])
def test_a_drain_that_nobody_remembers_is_repaid_at_the_next_start(world: World, journal: bytes | None) -> None:
    """A host must not stay out of the balancer because its journal was lost."""
    world.deploy(world.publish("1.0.0", 1))
    (world.app / "draining").touch()
    (world.app / "state/journal.json").unlink()
    if journal is not None:
        (world.app / "state/journal.json").write_bytes(journal)

    world.restart_agent()

    assert not (world.app / "draining").exists()
    assert world.current() == "1-1.0.0"


def test_a_key_that_is_new_in_the_policy_counts_after_one_refresh(world: World) -> None:
    """An unknown signer makes the host look at the policy again, but seldom."""
    order = world.order(world.publish("1.0.0", 1))
    world.book.its_policy = msgspec.structs.replace(world.policy, epoch=2)

    with pytest.raises(NotAuthorised):
        world.send(order)


def test_apps_do_not_wait_for_each_other(world: World) -> None:
    """`running` names every app, and one without a record is not invented."""
    world.deploy(world.publish("1.0.0", 1))
    (world.config.apps / "stranger").mkdir()

    assert [running.app for running in world.core.running()] == [APP]
