"""`clarion builder`: takes builds from the controller, one after the other, as a user that reaches nothing else.

1. take       the build that waits longest
2. fetch      its commit, with git (checkout.py)
3. build      between walls (sandbox.py); what it prints goes to the controller meanwhile
4. compare    the app that was built with the one that was to be built
5. hand over  the package and its manifest; the controller checks both, and publishes
6. finish     say that it is green, or why it is red

A controller that is away is waited for. One that stops wanting the build ends it. When the builder itself is asked to
stop, it says so in the log and gives the build back, for the next one to begin anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from clarion_controller.builds import checkout, sandbox
from clarion_controller.builds.build import Finished, Job
from clarion_controller.builds.builder_client import Desk, NotWanted
from clarion_controller.builds.clean import remove_tree
from clarion_controller.builds.limits import Limits
from clarion_controller.builds.log_upload import BuildLog
from clarion_controller.builds.output import COMPLAINT
from clarion_controller.durable_files import disk_trouble
from clarion_protocol.errors import Blocked, BuildFailed, ClarionError, ControllerUnreachable, Interrupted

WAIT = 20.0  # seconds for one question for a job
LONGEST_PAUSE = 15.0
LOCK = ".lock"
GIVE_UP = 900.0  # seconds for a controller that is away when a build has ended
MAX_FAILURE = 2000
STOPPED = b"[the builder is being stopped; the build begins anew when the next one takes it]\n"

_log = structlog.get_logger(__name__)


class Builder:
    """Carries out jobs below the folder `work`, until `stop` is set."""

    def __init__(self, desk: Desk, work: Path, stop: threading.Event) -> None:
        self._desk = desk
        self._work = work
        self._stop = stop

    def run(self, jobs: int) -> None:
        """Carry out `jobs` at a time; return when all that ran has ended after a stop."""
        building = [threading.Lock() for _ in range(jobs)]
        for lock in building:
            # Who waits for a job at a stop is not waited for.
            threading.Thread(target=self._serve, args=(lock,), daemon=True).start()
        self._stop.wait()
        for lock in building:
            lock.acquire()

    def _serve(self, building: threading.Lock) -> None:
        pause = 1.0
        while not self._stop.is_set():
            try:
                job = self._desk.take(WAIT)
                pause = 1.0
            except ClarionError as error:
                _log.warning("builder.waits", reason=error.message, hint=error.hint)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if job is not None:
                with building:
                    self._survive(job)

    def _survive(self, job: Job) -> None:
        """Carry out a job; a fault of ours costs this one build, and none of those that come after it."""
        try:
            self._carry_out(job)
        except Exception as error:  # noqa: BLE001 (it is told; the next job has nothing to do with it)
            _log.exception("builder.fault", build=job.id[:8])
            failure = f"the builder failed at this ({type(error).__name__}); its own log has the details"
            with contextlib.suppress(ClarionError, NotWanted):
                self._desk.finish(job, Finished(failure=failure))

    def _carry_out(self, job: Job) -> None:
        _log.info("build.begins", build=job.id[:8], app=job.app, commit=job.commit)
        began = time.monotonic()
        folder = self._work / job.id[:32]
        try:
            with BuildLog(self._desk, job) as log:
                finished = self._outcome(job, folder, log)
            if finished is None:
                self._let_go(job, log)
                return
            # First all that it said: whoever sees that a build is over can read why.
            self._insist(log.send, log)
            self._insist(lambda: self._desk.finish(job, finished), log)
            seconds = round(time.monotonic() - began, 1)
            _log.info("build.ended", build=job.id[:8], failure=finished.failure[:200], seconds=seconds)
        except (NotWanted, ClarionError) as error:
            _log.warning("build.dropped", build=job.id[:8], reason=str(error))
        finally:
            remove_tree(folder)

    def _outcome(self, job: Job, folder: Path, log: BuildLog) -> Finished | None:
        """Return how the build ended; None if nobody is to be told, because nobody wants it or we stop."""
        try:
            return Finished(version=self._build(job, folder, log))
        except Interrupted:
            if self._stop.is_set():
                log.say(STOPPED)
            return None
        except ClarionError as error:
            sentence, _, output = error.message.partition("\n")
            complaint = f"{COMPLAINT}{sentence.rstrip(':')}"
            if complaint not in output:  # which stands in the log already
                log.say(f"{complaint}\n".encode())
            return Finished(failure=_failure(sentence.rstrip(":"), error.hint))
        except OSError as error:
            _log.exception("build.disk")
            return Finished(failure=f"the builder's disk: {error}"[:MAX_FAILURE])

    def _build(self, job: Job, folder: Path, log: BuildLog) -> str:
        """Build and hand over; return the version."""
        remove_tree(folder)
        folder.mkdir(parents=True)
        log.say(f"Fetching {job.commit[:12]} of {job.ref} from {job.repository.url}\n".encode())
        wanted = checkout.Wanted(ref=job.ref, commit=job.commit)
        fetched = checkout.fetch(job.repository, wanted, folder / "source", job.credential)
        log.say(f"Building {job.app} {fetched.version}\n".encode())
        limits = Limits.of(job.repository)
        goes_on = self._goes_on(log)
        built = sandbox.build(fetched.folder, folder / "out", fetched.version, limits, log.say, goes_on)
        if built.app != job.app:
            hint = "Name it in clarion.toml, or set app of the repository in fleet.toml."
            raise BuildFailed(f"the build made a package of {built.app!r}, not of {job.app!r}", hint=hint)
        self._insist(lambda: self._desk.hand_over(job, "package", built.package), log)
        self._insist(lambda: self._desk.hand_over(job, "manifest", built.manifest), log)
        return built.version

    def _let_go(self, job: Job, log: BuildLog) -> None:
        log.send()
        if self._stop.is_set():
            self._desk.give_back(job)

    def _goes_on(self, log: BuildLog) -> Callable[[], bool]:
        return lambda: log.is_wanted and not self._stop.is_set()

    def _insist(self, call: Callable[[], None], log: BuildLog) -> None:
        """Call until the controller is there.

        Raises:
            Interrupted: we are to stop, or nobody wants the build any more.
            ControllerUnreachable: it stays away.
        """
        until, pause = time.monotonic() + GIVE_UP, 0.5
        while True:
            try:
                call()
            except ControllerUnreachable:
                if time.monotonic() > until:
                    raise
            except NotWanted as error:
                raise Interrupted(f"the build is not wanted: {error}") from error
            else:
                return
            if self._stop.wait(pause) or not log.is_wanted:
                raise Interrupted("the build was called off")
            pause = min(pause * 2, LONGEST_PAUSE)


def _failure(sentence: str, hint: str | None) -> str:
    return (f"{sentence}. {hint}" if hint else sentence)[:MAX_FAILURE]


@contextmanager
def workplace(work: Path) -> Iterator[None]:
    """Hold the folder `work`, emptied of what a builder that was killed has left.

    Raises:
        Blocked: another builder holds it.
        HostError: it cannot be made or emptied.
    """
    with disk_trouble(work):
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (work / LOCK).open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "Stop it, or name another folder with --work."
            raise Blocked(f"another builder works in {work}", hint=hint) from error
        with disk_trouble(work):
            for left in work.iterdir():
                if left.name != LOCK:
                    remove_tree(left)
        yield
