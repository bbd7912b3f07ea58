"""One thread for each app: it does one thing at a time, and always what the newest orders ask for."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from clarion_agent import deploy
from clarion_agent.app_folder import AppFolder
from clarion_agent.attempt import Host, Reporter, Staging, Switch
from clarion_agent.floors import Orders
from clarion_agent.journal import Intent, Phase
from clarion_agent.orders import Move, next_move, standing_of
from clarion_agent.resume import recover
from clarion_agent.steps import Ending, as_ours
from clarion_agent.stopper import Stopper
from clarion_protocol import words
from clarion_protocol.documents import Deployment
from clarion_protocol.errors import NothingToGoBackTo
from clarion_protocol.words import HostStatus, release_id

log_to = structlog.get_logger(__name__)

# After this agent itself failed in the middle of a switch: a full disk may have room again.
REPAY_S = 30.0


@dataclass(frozen=True)
class Task:
    """The newest accepted deployment of an app and what its signals have ordered.

    `lease_deadline` is the lease's end on the boot clock: setting the wall clock back does not prolong a lease.
    """

    deployment: Deployment
    digest: str
    orders: Orders
    lease_deadline: float
    believe: Callable[[], None]


class AppWorker:
    """Carries out the deployments of one app."""

    def __init__(self, folder: AppFolder, host: Host, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._host = host
        self._clock = clock
        self._changed = threading.Condition()
        self._task: Task | None = None
        self._doing: tuple[Move, Task] | None = None
        self._stopper = Stopper()
        self._is_stopping = False
        self._is_idle = False
        self._has_ended = False
        self._staged = ""  # the digest of the deployment that has been staged since this agent started
        self._given_up: Task | None = None  # on which this agent itself failed; the next order is tried again
        self._thread = threading.Thread(target=self._live, name=f"app {folder.app}", daemon=True)

    def start(self) -> None:
        """Begin, if that was not done yet, with whatever the journal says was left unfinished."""
        if self._thread.ident is None:
            self._thread.start()

    def give(self, task: Task) -> None:
        """Make `task` what this worker works for, and stop what it makes pointless."""
        with self._changed:
            self._task = task
            self._stop_what_is_pointless(task)
            self._is_idle = False
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """End the thread, waiting up to `timeout` seconds; the journal says where the next one goes on."""
        with self._changed:
            self._is_stopping = True
            self._stopper.stop_agent()
            self._changed.notify_all()
        self._thread.join(timeout)

    def wait_until_idle(self, timeout: float) -> bool:
        """Return whether within `timeout` seconds there is nothing left to do until the next order."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle or self._has_ended, timeout)

    def _stop_what_is_pointless(self, task: Task) -> None:
        if self._doing is None:
            return
        move, old = self._doing
        if old.digest == task.digest and (task.orders.abort or task.orders.rollback):
            self._stopper.interrupt(task.orders.reason or "it was called off")
        # In the danger zone an older deployment finishes or is undone first.
        if old.digest != task.digest and move is Move.STAGE:
            self._stopper.interrupt("a newer deployment came")

    def _live(self) -> None:
        with contextlib.suppress(SystemExit):  # the stopper's way to leave a step without undoing it
            self._guarded(self._take_up)
            while not self._is_stopping:
                self._guarded(self._turn)
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _turn(self) -> None:
        if chosen := self._choose():
            chosen()

    def _choose(self) -> Callable[[], None] | None:
        """Wait for something to do and return it, or None at the end."""
        with self._changed:
            self._doing = None
            while not self._is_stopping:
                move = self._next_move()
                if self._task is not None and move is not Move.REST:
                    self._stopper, self._doing = Stopper(), (move, self._task)
                    return partial(self._carry_out, *self._doing)
                self._is_idle = True
                self._changed.notify_all()
                if not self._changed.wait(REPAY_S if self._is_in_debt() else None):
                    self._stopper, self._is_idle = Stopper(), False
                    return self._repay
            return None

    def _is_in_debt(self) -> bool:
        """Return whether something that was begun is neither finished nor undone, or nobody can say."""
        try:
            intent = self._folder.journal.read()
        except OSError:
            return True
        return intent is not None and not intent.is_done

    def _next_move(self) -> Move:
        task = self._task
        if task is None or task is self._given_up:
            return Move.REST
        standing = standing_of(self._folder.journal.read(), task.digest, is_staged=self._staged == task.digest)
        return next_move(task.orders, standing, has_lease=self._has_lease(task))

    def _has_lease(self, task: Task) -> bool:
        return self._clock() < task.orders.lease_until and boot_clock() < task.lease_deadline

    def _still_has_lease(self, task: Task) -> bool:
        """Return whether the newest orders let `task` switch: a store that was asked again may have taken its time."""
        with self._changed:
            newest = self._task
            return newest is not None and newest.digest == task.digest and self._has_lease(newest)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            # Ours to explain; the next order, or the next start, tries again.
            log_to.exception("this agent failed", app=self._folder.app)
            if self._task is not None:
                self._given_up = self._task
                failure = as_ours(error, None)
                self._report(self._task, Ending(HostStatus.FAILED, failure.message, failure.code))

    def _carry_out(self, move: Move, task: Task) -> None:
        if self._recover() is not None:
            return  # this agent itself had failed in the middle of something, which comes first
        if move is Move.STAGE:
            self._stage(task)
        elif move is Move.SWITCH:
            self._switch(task)
        elif move is Move.GO_BACK:
            self._report(task, self._go_back(task))
        else:
            self._settle(task, Ending(HostStatus.SKIPPED, task.orders.reason or "it was called off"))

    def _stage(self, task: Task) -> None:
        self._folder.prepare()
        if self._folder.has(task.deployment.ref) and self._folder.current() == _release_of(task):
            self._report(task, deploy.confirm(self._attempt(self._intent(task, Phase.SWITCHING))))
            return
        ending = deploy.stage(self._staging(task))
        if ending.status is HostStatus.STAGED:
            self._staged = task.digest
            self._report(task, ending)
        else:
            self._settle(task, ending)

    def _switch(self, task: Task) -> None:
        if refused := deploy.refusal(self._staging(task)):
            self._settle(task, refused)
        elif self._still_has_lease(task):
            self._report(task, deploy.switch(self._attempt(self._intent(task, Phase.SWITCHING))))

    def _go_back(self, task: Task) -> Ending:
        intent = self._folder.journal.read() or self._intent(task, Phase.DONE)
        wanted = task.deployment.go_back_to
        target = release_id(wanted.release, wanted.version) if wanted and self._folder.has(wanted) else intent.before
        attempt = self._attempt(msgspec.structs.replace(intent, went_back=True))
        current = self._folder.current()
        if target is None or self._folder.record(target) is None:
            nothing = NothingToGoBackTo("no earlier release is unpacked and verified on this host")
            attempt.settle(HostStatus.FAILED, nothing.message, nothing.code)
            return Ending(HostStatus.FAILED, nothing.message, nothing.code)
        if target == current and intent.outcome is not HostStatus.FAILED:
            attempt.settle(HostStatus.ROLLED_BACK, f"on {target} already", "")
            return Ending(HostStatus.ROLLED_BACK, f"on {target} already")
        attempt.intent = msgspec.structs.replace(attempt.intent, before=current, to=target)
        return deploy.go_back(attempt)

    def _take_up(self) -> None:
        """Finish or undo what the last agent began; if it ended before it could say how, say so."""
        if self._recover() is not None:
            return
        intent = self._folder.journal.read()
        if intent and intent.outcome and self._task and intent.digest == self._task.digest:
            self._report(self._task, Ending(intent.outcome, intent.reason, intent.error))

    def _repay(self) -> None:
        """Finish or undo what this agent failed in; it has said that it failed, so no lease counts any more."""
        recover(self._folder, self._host, self._stopper, math.inf)

    def _recover(self) -> Ending | None:
        return recover(self._folder, self._host, self._stopper, self._clock())

    def _settle(self, task: Task, ending: Ending) -> None:
        attempt = self._attempt(self._intent(task, Phase.DONE))
        attempt.settle(ending.status, ending.reason, ending.error)
        self._report(task, ending)

    def _report(self, task: Task, ending: Ending) -> None:
        reporter = Reporter(self._host.net, task.deployment.id, task.deployment.stream)
        reporter.say(ending.status, reason=ending.reason, error=ending.error, log=ending.log)

    def _staging(self, task: Task) -> Staging:
        return Staging(task.deployment, self._folder, self._host, task.believe, self._stopper)

    def _attempt(self, intent: Intent) -> Switch:
        self._folder.prepare()
        return Switch(intent, self._folder, self._host, self._stopper)

    def _intent(self, task: Task, phase: Phase) -> Intent:
        return Intent(
            app=self._folder.app,
            deployment=task.deployment.id,
            digest=task.digest,
            stream=task.deployment.stream,
            before=self._folder.current(),
            to=_release_of(task),
            phase=phase,
            lease_until=task.orders.lease_until,
            bake_time=task.deployment.plan.bake_time,
            is_rollback=task.deployment.intent is words.Intent.ROLLBACK,
        )


def boot_clock() -> float:
    """Return seconds since this machine started, asleep or not; nobody can set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _release_of(task: Task) -> str:
    return release_id(task.deployment.release, task.deployment.version)
