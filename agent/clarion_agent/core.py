"""The half that changes this host: it believes nothing it has not verified, and remembers before it acts.

    core = Core(config, load_identity(config.state), net)
    core.recover()      # finish or undo what the last agent left, then go on
    core.offer(...)     # from any thread; the work happens in one thread for each app
    core.close()

Order in `offer`: verify (`clarion_protocol.trust`), keep the envelope, persist the floor and
what was ordered in one write, and only then hand it over. A controller that is silent changes
nothing: without a new signal nothing new is switched, and what runs goes on.

A host that has lost its floors stays up, says so, and refuses every order. What its journals
say was begun is ended: that was ordered while it still knew, and a drained host is a debt.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec
import structlog

from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Host
from clarion_agent.config import Config
from clarion_agent.envelopes import Envelopes, stream_named_in
from clarion_agent.floors import FloorFiles, Floors, StreamFloors
from clarion_agent.halves import Net
from clarion_agent.identity import Identity
from clarion_agent.orders import follow
from clarion_agent.packages import PackageBook
from clarion_agent.parts import checker_of, sandbox_of, service_manager_of
from clarion_agent.running import folders_below, what_runs
from clarion_agent.steps import as_ours
from clarion_agent.worker import AppWorker, Task, boot_clock
from clarion_protocol import dsse, trust
from clarion_protocol.documents import Beacon, Deployment, Head, Running, Signal, kind_of
from clarion_protocol.errors import BadEnvelope, BadSignature, ClarionError, NotAuthorised, TrustStateLost, WrongAddress
from clarion_protocol.policy import Policy
from clarion_protocol.trust import Standpoint

CLOCK_STEP_S = 600
POLICY_RETRY_S = 60.0
CLOSE_TIMEOUT_S = 5.0

_log = structlog.get_logger(__name__)


class Core:
    """Accepts signed messages and keeps one worker for each app; implements `halves.Core`.

    `host` replaces the parts that `config` names, and `clock` (UTC s) the system's; tests use both.
    """

    def __init__(
        self,
        config: Config,
        identity: Identity,
        net: Net,
        *,
        host: Host | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity.record
        self._clock = clock
        self._files = FloorFiles(config.trust)
        self._envelopes = Envelopes(config.state / "envelopes")
        self._host = host or self._host_of(config, identity, net)
        self._lock = threading.RLock()
        self._floors: Floors | None = None
        self._lost: TrustStateLost | None = None
        self._saved_clock = 0
        self._beacon: Beacon | None = None
        self._deployments: dict[str, Deployment] = {}
        self._workers: dict[str, AppWorker] = {}
        self._refreshed_at = -POLICY_RETRY_S

    def recover(self) -> None:
        """Sweep what was left half done, and let every app's worker go on where the last agent ended."""
        with self._lock:
            floors = self._floors_or_lost()
            self._host.sandbox.sweep()
            self._host.checker.sweep()
            for folder in folders_below(self._host.config.apps):
                folder.sweep()
                self._worker_of(folder.app)
            for stream in floors.streams:
                self._resume(stream)
            for worker in self._workers.values():
                worker.start()

    def close(self) -> None:
        """End all workers soon. What they were doing is finished or undone by the next `recover`."""
        for worker in self._workers.values():
            worker.stop(CLOSE_TIMEOUT_S)

    def wait_until_idle(self, timeout: float) -> bool:
        """Return whether, within `timeout` seconds for each, no app has anything left to do."""
        return all(worker.wait_until_idle(timeout) for worker in list(self._workers.values()))

    def now(self) -> float:
        """Return the time (UTC s): this host's clock, but never earlier than a signed message has proved."""
        return max(self._clock(), self._floors.clock if self._floors else 0)

    def offer(self, envelope: bytes) -> None:
        """Take a signed deployment, signal or beacon from wherever it came; see `halves.Core`."""
        kind = kind_of(dsse.parse(envelope).payloadType)
        accept = {Deployment: self._offer_deployment, Signal: self._offer_signal, Beacon: self._offer_beacon}.get(kind)
        if accept is None:
            raise BadEnvelope("a host takes no reports")
        with self._lock:
            if kind is not Beacon:
                self._known()
            try:
                self._with_newest_policy(partial(accept, envelope))
            except OSError as error:
                raise as_ours(error, None) from error

    def heads(self) -> dict[str, Head]:
        """Return the newest deployment and signal sequence accepted in each stream."""
        with self._lock:
            return {} if self._lost else {stream: each.head for stream, each in self._known().streams.items()}

    def missed(self) -> bool:
        """Return whether a beacon has shown something newer than `heads`."""
        with self._lock:
            heads = self.heads()
            shown = self._beacon.heads if self._beacon and not self._lost else {}
            return any(trust.is_behind(heads.get(stream, Head()), head) for stream, head in shown.items())

    def trouble(self) -> str:
        """Return why this host refuses every order, or nothing."""
        try:
            if self._lost is None:
                self._host.book.policy(self._identity.environment)
        except TrustStateLost as error:
            return error.message
        except ClarionError:
            return ""  # that passes, or is said to whoever orders something
        return self._lost.message if self._lost else ""

    def running(self) -> list[Running]:
        """Return what each app on this host runs now."""
        return what_runs(self._host)

    def _offer_deployment(self, envelope: bytes) -> None:
        accepted = self._judge_deployment(envelope, self._standpoint())
        if accepted.is_repeat:
            return
        stream, digest = accepted.deployment.stream, accepted.floor.digest
        state = self._known().of(stream)
        # The envelope first: a floor whose deployment is lost would be an order that is lost.
        self._envelopes.save(digest, envelope)
        self._remember(stream, accepted.deployment.issued_at, state.after(accepted.floor))
        self._deployments[stream] = accepted.deployment
        self._envelopes.prune({floors.deployment.digest for floors in self._known().streams.values()})
        self._hand_over(stream)

    def _offer_signal(self, envelope: bytes) -> None:
        stream = stream_named_in(envelope)
        deployment = self._deployments.get(stream)
        if deployment is None:
            raise WrongAddress("signal of a deployment that this host has not accepted")
        state = self._known().of(stream)
        signal, floor = trust.accept_signal(envelope, self._standpoint(), state.signal, deployment)
        if floor == state.signal:
            return
        if not signal.targets.include(self._identity.host):
            # In memory only: played again after a crash it would still be for others, and most signals are.
            self._floors = self._known().with_stream(stream, msgspec.structs.replace(state, signal=floor))
            return
        self._envelopes.save(floor.digest, envelope)
        orders = follow(state.orders, signal, self._identity.host)
        self._remember(stream, signal.issued_at, msgspec.structs.replace(state, signal=floor, orders=orders))
        self._hand_over(stream)

    def _offer_beacon(self, envelope: bytes) -> None:
        beacon = trust.accept_beacon(envelope, self._standpoint())
        if self._beacon is None or beacon.time > self._beacon.time:
            self._beacon = beacon
        if self._lost:
            return  # it keeps the line alive, no more
        self._floors = self._known().with_clock(beacon.time)
        # Written now and then only: a beacon comes every 30 s, and a clock set back by minutes opens nothing.
        if beacon.time - self._saved_clock >= CLOCK_STEP_S:
            with suppress(OSError):  # a full disk must not make a host deaf; the next beacon tries again
                self._save(self._floors)

    def _judge_deployment(self, envelope: bytes, at: Standpoint) -> trust.Accepted:
        floor = self._known().of(stream_named_in(envelope)).deployment
        return trust.accept_deployment(envelope, at, floor)

    def _believe_again(self, digest: str) -> None:
        at = self._standpoint()  # may ask the store, for minutes: not while every message waits for the lock
        with self._lock:
            self._judge_deployment(self._envelopes.read(digest), at)

    def _hand_over(self, stream: str) -> None:
        worker = self._worker_of(self._deployments[stream].app)
        worker.give(self._task(stream))
        worker.start()

    def _resume(self, stream: str) -> None:
        deployment = self._envelopes.deployment(self._known().of(stream).deployment.digest)
        if deployment is None:
            return  # then the controller's next deployment is the way on; what was begun is in the app's journal
        self._deployments[stream] = deployment
        self._worker_of(deployment.app).give(self._task(stream))

    def _task(self, stream: str) -> Task:
        state = self._known().of(stream)
        lease_left = state.orders.lease_until - self.now()
        believe = partial(self._believe_again, state.deployment.digest)
        return Task(
            self._deployments[stream], state.deployment.digest, state.orders, boot_clock() + lease_left, believe
        )

    def _worker_of(self, app: str) -> AppWorker:
        if app not in self._workers:
            self._workers[app] = AppWorker(AppFolder(self._host.config.apps / app), self._host, self._lease_clock)
        return self._workers[app]

    def _floors_or_lost(self) -> Floors:
        try:
            return self._known()
        except TrustStateLost as error:
            # Until the next start, also if older copies are put back meanwhile: nobody would know how old.
            self._lost = error
            _log.error("trust.lost", reason=error.message, hint=error.hint)
            return Floors()

    def _lease_clock(self) -> float:
        """Return the time by which leases are judged: the end of all of them for a host that has lost its floors."""
        return math.inf if self._lost else self.now()

    def _known(self) -> Floors:
        if self._lost:
            raise self._lost
        if self._floors is None:
            self._floors = self._files.read()
            self._saved_clock = self._floors.clock
        return self._floors

    def _remember(self, stream: str, time: int, state: StreamFloors) -> None:
        """Persist what was accepted; only then may it be acted on."""
        self._save(self._known().with_stream(stream, state).with_clock(time))

    def _save(self, floors: Floors) -> None:
        self._floors = self._files.write(floors)
        self._saved_clock = self._floors.clock

    def _standpoint(self) -> Standpoint:
        return Standpoint(self._identity.host, self._policy(), self.now())

    def _policy(self) -> Policy:
        try:
            return self._host.book.policy(self._identity.environment)
        except ClarionError:
            if not self._refresh_policy():
                raise
            return self._host.book.policy(self._identity.environment)

    def _with_newest_policy(self, accept: Callable[[], None]) -> None:
        try:
            accept()
        except (BadSignature, NotAuthorised):
            # The keys may have changed since this host last looked; seldom, so that nobody can make it look often.
            if not self._refresh_policy():
                raise
            accept()

    def _refresh_policy(self) -> bool:
        """Bring the metadata up to date, unless that was tried a moment ago; return whether it is now."""
        if boot_clock() - self._refreshed_at < POLICY_RETRY_S:
            return False
        self._refreshed_at = boot_clock()
        try:
            self._host.net.refresh()
        except ClarionError:
            return False  # then what is said about the message stands
        return True

    def _host_of(self, config: Config, identity: Identity, net: Net) -> Host:
        book = PackageBook(config.trust, identity.root, self.now)
        return Host(config, net, book, service_manager_of(config), sandbox_of(config), checker_of(config))
