"""A fleet in memory behind the gateway's seam: hosts verify like real ones, and misbehave on order."""

from __future__ import annotations

import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import msgspec

from clarion_controller.discover.discovered import Discovered
from clarion_controller.gateway.enrol import Invitation
from clarion_controller.gateway.gateway import Inbound
from clarion_controller.matching import Member, match
from clarion_controller.rollout import Rollouts, Settings
from clarion_controller.select_targets import Selection, TargetRequest, select_targets
from clarion_controller.sign import Signer
from clarion_controller.state.database import open_database
from clarion_controller.state.log import StateLog
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.state.roster import Host, Roster
from clarion_controller.streams import Walk
from clarion_protocol import strict_json
from clarion_protocol.documents import Deployment, Head, Plan, Progress, ReleaseRef, Report, Running, Signal
from clarion_protocol.dsse import parse
from clarion_protocol.errors import ClarionError, SignalError
from clarion_protocol.invite import JoinRequest, hash_secret, new_secret
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import Policy
from clarion_protocol.trust import Floor, Standpoint, accept_deployment, accept_signal
from clarion_protocol.wire import Ack, Ask, Down, Up
from clarion_protocol.words import HostStatus, Verb, new_id, stream_of

ENVIRONMENT = "production"
CLUSTER = "c" * 32
APP = "shop"
STAGING = [HostStatus.PULLING, HostStatus.VERIFYING, HostStatus.TESTING, HostStatus.STAGED]
SWITCHING = [HostStatus.DRAINING, HostStatus.ACTIVATING, HostStatus.CHECKING, HostStatus.BAKING, HostStatus.COMMITTED]
IN_CHANGE = set(SWITCHING) - {HostStatus.COMMITTED}


@dataclass
class Clock:
    """Time that only the test moves; UTC seconds."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Faults:
    """What a simulated host does wrong."""

    is_dead: bool = False
    step_time: float = 1.0
    fails_in: HostStatus | None = None
    dies_in: HostStatus | None = None
    silent_when: Callable[[float], bool] = lambda _: False
    misses_signals: bool = False
    lies_committed: bool = False


@dataclass
class FakeHost:
    """One host: its keys, its floors, what it runs, what it still has to do, and its outbox."""

    id: str
    name: str
    key: SigningKey
    policy: Policy
    faults: Faults
    runs: str = "1.0.0"
    deployment: Deployment | None = None
    status: HostStatus = HostStatus.PENDING
    floors: dict[str, Floor] = field(default_factory=dict)
    todo: list[HostStatus] = field(default_factory=list)
    outbox: dict[int, bytes] = field(default_factory=dict)
    next_step: float = 0.0
    next_word: float = 0.0
    next_ask: float = 0.0
    seq: int = 0
    ran_before: str = "1.0.0"
    refused: list[str] = field(default_factory=list)
    is_connected: bool = True

    def is_up(self, now: float) -> bool:
        """Return whether messages pass now."""
        return not self.faults.is_dead and not self.faults.silent_when(now)

    @property
    def is_in_change(self) -> bool:
        """Return whether this host is really being changed."""
        return self.status in IN_CHANGE

    def receive(self, envelope: bytes, now: float) -> None:
        """Believe or refuse an envelope, as a real host does."""
        at = Standpoint(self.id, self.policy, now)
        kind = parse(envelope).payloadType
        try:
            if kind == Deployment.payload_type:
                self._take_deployment(envelope, at)
            elif kind == Signal.payload_type and self.deployment:
                self._take_signal(envelope, at)
        except SignalError as error:
            self.refused.append(f"{error.code}: {error.message}")

    def _take_deployment(self, envelope: bytes, at: Standpoint) -> None:
        accepted = accept_deployment(envelope, at, self.floors.get("deployment", Floor()))
        self.floors["deployment"] = accepted.floor
        if not accepted.is_repeat:
            self.deployment, self.status, self.todo = accepted.deployment, HostStatus.PENDING, []
            self.ran_before = self.runs

    def _take_signal(self, envelope: bytes, at: Standpoint) -> None:
        assert self.deployment
        signal, floor = accept_signal(envelope, at, self.floors.get("signal", Floor()), self.deployment)
        is_repeat = floor == self.floors.get("signal")
        self.floors["signal"] = floor
        if not signal.targets.include(self.id) or is_repeat:
            return
        self.next_step = at.now + self.faults.step_time
        if signal.verb is Verb.STAGE and self.status is HostStatus.PENDING:
            self.todo = list(STAGING)
        elif signal.verb is Verb.LEASE and self.status is HostStatus.STAGED:
            self.todo = list(SWITCHING)
        elif signal.verb is Verb.PAUSE and self.status is HostStatus.STAGED:
            self.todo = []
        elif signal.verb is Verb.ROLLBACK and self.status is not HostStatus.ROLLED_BACK:
            self.todo = [HostStatus.ROLLED_BACK]
        elif signal.verb is Verb.ABORT and self.status not in IN_CHANGE and not self.status.is_final:
            self.todo = [HostStatus.SKIPPED]

    def work(self, now: float) -> None:
        """Take the next step if it is time for it."""
        if self.faults.is_dead or not self.todo or now < self.next_step:
            return
        self.next_step = now + self.faults.step_time
        step = self.todo.pop(0)
        if step is self.faults.dies_in:
            self.status, self.faults.is_dead = step, True
            return
        if step is self.faults.fails_in:
            self.todo = []
            step = HostStatus.ROLLED_BACK if step in SWITCHING else HostStatus.FAILED
        if step is HostStatus.ACTIVATING and self.deployment:
            self.runs = self.deployment.version
        if step is HostStatus.ROLLED_BACK:
            self.runs = self.ran_before
        self.status = step
        self.say(now, step)

    def say(self, now: float, status: HostStatus | None = None) -> None:
        """Put a report into the outbox."""
        self.seq += 1
        progress = None
        if status and self.deployment:
            reason = "the check failed" if status in (HostStatus.FAILED, HostStatus.ROLLED_BACK) else ""
            progress = Progress(
                deployment=self.deployment.id, stream=self.deployment.stream, status=status, reason=reason
            )
        running = [Running(APP, self.runs, 1, "a" * 64, is_active=True)]
        report = Report(
            cluster=CLUSTER, host=self.id, seq=self.seq, at=int(now), running=running, heads=self.heads(),
            progress=progress,
        )  # fmt: skip
        self.outbox[self.seq] = report.sealed(self.key)

    def heads(self) -> dict[str, Head]:
        """Return what this host has accepted."""
        if not self.deployment:
            return {}
        return {self.deployment.stream: Head(self.deployment.seq, self.floors.get("signal", Floor()).seq)}

    def speak(self, now: float) -> list[Inbound]:
        """Return what reaches the controller now."""
        if not self.is_up(now):
            self.is_connected = False
            return []
        said: list[Inbound] = []
        if self.faults.lies_committed and self.deployment and self.status is HostStatus.PENDING:
            self.status = HostStatus.COMMITTED
            self.say(now, HostStatus.COMMITTED)
        if now >= self.next_word:
            self.next_word = now + 30
            self.say(now)
        said += [Inbound(self.id, Up.REPORT, body) for body in self.outbox.values()]
        if now >= self.next_ask or not self.is_connected:
            self.next_ask = now + 60
            said.append(Inbound(self.id, Up.ASK, strict_json.dumps(Ask(self.heads()))))
        self.is_connected = True
        return said


@cache
def empty_database() -> bytes:
    """Return the file of a new database, migrated once instead of for each of thousands of examples."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "clarion.db")
        with database.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.dispose()
        return (Path(folder) / "clarion.db").read_bytes()


class FakeFleet:
    """Hosts, the network between, and a real controller core over a real database."""

    def __init__(self, folder: Path, *, unreachable_after: float = 90.0) -> None:
        self.clock = Clock()
        self.deployer, signal_key, beacon_key = (SigningKey.generate() for _ in range(3))
        self.policy = Policy(
            cluster=CLUSTER, environment=ENVIRONMENT,
            deployers=[self.deployer.public_hex], signals=[signal_key.public_hex], beacons=[beacon_key.public_hex],
        )  # fmt: skip
        signer = Signer(CLUSTER, signal_key, beacon_key)
        self.settings = Settings(signer, self.members, unreachable_after, self.clock)
        self.listed: dict[str, Discovered] | None = None
        self.trouble: ClarionError | None = None
        self.folder = folder
        self.hosts: dict[str, FakeHost] = {}
        self.broadcasts: list[bytes] = []
        self.most_in_change = 0
        (folder / "clarion.db").write_bytes(empty_database())
        self.close: Callable[[], object] = lambda: None
        self.start_controller()

    def start_controller(self) -> None:
        """Start the controller, or start it again from what it has recorded."""
        self.close()
        database = self.database = open_database(self.folder / "clarion.db")
        # Closed with the fleet at the latest: an open database that is forgotten is a warning, thus a failure.
        self.close = weakref.finalize(self, database.dispose)
        self.log = StateLog(database)
        self.roster = Roster(database, self.log, self.clock)
        self.rollouts = Rollouts(self.settings, self.log, self.roster, self)

    def members(self, environment: str) -> list[Member]:
        """Return who belongs to the environment, as a source would have it that lists what `listed` says."""
        if self.trouble:
            raise self.trouble
        discovered = None if self.listed is None else list(self.listed.values())
        return match(discovered, self.roster.of(environment))

    def list_all(self) -> None:
        """Have a source list everybody who is enrolled, from now on."""
        self.listed = {}
        for host in self.hosts.values():
            self.appear(host.name)

    def appear(self, name: str, instance: str = "") -> None:
        """Have the source list a server; without `instance`, by its name only."""
        assert self.listed is not None
        self.listed[name] = Discovered(name=name, source="aws", instance=instance)
        self.rollouts.fleet_changed(ENVIRONMENT)

    def disappear(self, name: str) -> None:
        """Have the source list a server no more, whatever it does."""
        assert self.listed is not None
        self.listed.pop(name, None)
        self.rollouts.fleet_changed(ENVIRONMENT)

    def terminate(self, name: str) -> None:
        """Take a server away, as an autoscaler would: it falls silent, and the source lists it no more."""
        self.named(name).faults.is_dead = True
        self.disappear(name)

    def launch(self, name: str, faults: Faults | None = None) -> FakeHost:
        """Start a server with the agent in its image: the source lists it, and it joins."""
        self.appear(name)
        return self.join(name, faults)

    def expected(self) -> dict[str, FakeHost]:
        """Return the hosts that belong to the fleet now, by id."""
        members = self.members(ENVIRONMENT)
        return {each.host.id: self.hosts[each.host.id] for each in members if each.host and each.is_expected}

    def named(self, name: str) -> FakeHost:
        """Return the host of that name."""
        return next(host for host in self.hosts.values() if host.name == name)

    def broadcast(self, topic: str, envelope: bytes) -> None:
        """Carry an envelope to every host that can hear it."""
        assert topic == ENVIRONMENT
        self.broadcasts.append(envelope)
        for host in self.hosts.values():
            if host.is_up(self.clock.now) and not host.faults.misses_signals:
                host.receive(envelope, self.clock.now)

    def send(self, host: str, kind: Down, *bodies: bytes) -> None:
        """Carry an answer to one host."""
        to = self.hosts[host]
        if not to.is_up(self.clock.now):
            return
        if kind is Down.ACK:
            seq = msgspec.json.decode(bodies[0], type=Ack).seq
            to.outbox = {number: body for number, body in to.outbox.items() if number > seq}
        else:
            for body in bodies:
                to.receive(body, self.clock.now)

    def join(self, name: str, faults: Faults | None = None) -> FakeHost:
        """Enrol a host, as the join port would."""
        key, invite = SigningKey.generate(), new_id()
        invitation = Invitation(hash_secret(new_secret()), ENVIRONMENT, (), None, 1, self.clock.now + 900)
        self.roster.invite(invitation, invite)
        request = JoinRequest(invite=invite, name=name, sign_key=key.public_hex, transport_key=new_id() + new_id())
        host: Host = self.roster.admit(request, invitation)
        fake = FakeHost(host.id, name, key, self.policy, faults or Faults())
        self.hosts[host.id] = fake
        self.rollouts.host_joined(host)
        return fake

    def deploy(self, version: str = "1.1.0", names: list[str] | None = None, **plan: object) -> Walk:
        """Plan, sign and accept a deployment."""
        selection = select_targets(TargetRequest(ENVIRONMENT, names), self.members(ENVIRONMENT))
        return self.accept(self.document(version, selection, Plan(**plan)), selection)  # type: ignore[arg-type]

    def deploy_with(self, plan: Plan, version: str = "1.1.0") -> Walk:
        """Deploy to everybody by this plan."""
        return self.deploy(version, **{name: getattr(plan, name) for name in plan.__struct_fields__})

    def state_of(self, walk: Walk) -> RolloutState:
        """Return the controller's newest state of a deployment."""
        return self.newest(walk).state

    def newest(self, walk: Walk) -> Walk:
        """Return the deployment as the controller, which may have been restarted since, has it now."""
        found = self.rollouts.streams.find(walk.state.deployment.id)
        assert found
        return found

    def document(self, version: str, selection: Selection, plan: Plan) -> Deployment:
        """Return a deployment that is due next."""
        stream, now = stream_of(ENVIRONMENT, APP), int(self.clock.now)
        return Deployment(
            id=new_id(), cluster=CLUSTER, environment=ENVIRONMENT, stream=stream, epoch=1,
            seq=self.rollouts.streams.next_deployment_seq(stream), app=APP, version=version, release=2,
            path=f"{APP}/{APP}-{version}.tar.zst", length=1, sha256="b" * 64, targets=selection.targets, plan=plan,
            go_back_to=ReleaseRef("1.0.0", 1, "a" * 64), issued_at=now, not_before=now, expires=now + 86_400,
        )  # fmt: skip

    def accept(self, deployment: Deployment, selection: Selection) -> Walk:
        """Have the controller take on a deployment."""
        return self.rollouts.accept(deployment, deployment.sealed(self.deployer), selection)

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass, every host work and speak, and the controller take its turn."""
        self.clock.now += seconds
        said: list[Inbound] = []
        for host in self.hosts.values():
            host.work(self.clock.now)
            said += host.speak(self.clock.now)
        self.most_in_change = max(self.most_in_change, sum(host.is_in_change for host in self.hosts.values()))
        self.rollouts.turn(said)

    def run(self, walk: Walk, *, limit: int = 2000, until: Callable[[], bool] | None = None) -> Walk:
        """Step until the deployment is over, or `until` holds; never longer than `limit` steps."""
        for _ in range(limit):
            if until() if until else self.state_of(walk).status.is_final:
                return self.newest(walk)
            self.step()
        raise AssertionError(f"not over after {limit} steps: {self.state_of(walk).reason!r} {self.census()}")

    def census(self) -> dict[str, list[str]]:
        """Return the names of hosts by what they really are."""
        found: dict[str, list[str]] = defaultdict(list)
        for host in self.hosts.values():
            found[f"{host.status.value} runs {host.runs}"].append(host.name)
        return dict(found)


def fleet_of(folder: Path, count: int, *faults: Faults, **settings: float) -> FakeFleet:
    """Return a fleet of `count` hosts of which the first have these faults."""
    fleet = FakeFleet(folder, **settings)
    for number in range(count):
        fleet.join(f"web-{number + 1:04}", replace(faults[number]) if number < len(faults) else None)
    return fleet
