"""Which builds there are, and where each stands: `<home>/state/builds.db`, one transaction a change.

- What a push begins and ends: take_on.py.
- A build whose builder has gone silent goes back to the queue once, then fails; one whose builder was stopped, always.
  One that its builder does not end in time fails: give_up.py.
- One that succeeded may wait to be deployed: waiting.py.

Whatever was answered is on the disk. Every call waits for it, so none belongs on an event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from clarion_controller.builds.build import Build, BuildStatus, Push
from clarion_controller.builds.build_rows import SHOWN, build_in, builds, deliveries, pushes
from clarion_controller.builds.give_up import LimitOf, overdue, silent
from clarion_controller.builds.queue_database import (
    STOPPABLE,
    UNFINISHED,
    QueueDatabase,
    change,
    find_all,
    find_one,
)
from clarion_controller.builds.take_on import take_on
from clarion_controller.builds.waiting import Waiting
from clarion_protocol.errors import Blocked, UnknownName
from clarion_protocol.words import new_id

MOST_TAKES = 2
KEPT_BUILDS = 200  # a repository
KEPT_DELIVERIES = 100_000
KEPT_PUSHES = 10_000
STARTED, FINISHED = 1, 2  # how much the record knows of a build

_HAS_BEGUN = (builds.c.takes > 0) | (builds.c.told > 0)
_IS_RUNNING = builds.c.status == BuildStatus.RUNNING.value
_AGAIN: dict[str, object] = {"status": BuildStatus.QUEUED.value, "taken_as": "", "started_at": None}


class BuildQueue:
    """The queue of one controller; any thread may use it, one changes it at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = QueueDatabase(path)
        self._clock = clock
        # When a builder was last heard; not in the database, which would be written to at every line of a log.
        self._heard: dict[str, float] = {}
        self.waiting = Waiting(self._database)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def push(self, push: Push, app: str) -> bool:
        """Take a push on, whose app is `app`; False if its delivery was known, or a newer push."""
        return self.push_all([(push, app)])[0]

    def push_all(self, announced: Sequence[tuple[Push, str]]) -> list[bool]:
        """Take pushes on in one transaction, each with its app; for each, False if it was known, or a newer."""
        with self._database.changing() as connection:
            return [take_on(connection, push, app, self._clock()) for push, app in announced]

    def take(self) -> tuple[Build, str] | None:
        """Return the build that waits longest, now running, and what proves who took it; None if none waits."""
        taken_as, now = new_id(), self._clock()
        oldest = select(func.min(builds.c.number)).where(builds.c.status == BuildStatus.QUEUED.value)
        with self._database.changing() as connection:
            first = builds.c.number == connection.execute(oldest).scalar_one()
            taken = {"status": "running", "started_at": now, "taken_as": taken_as, "takes": builds.c.takes + 1}
            change(connection, first, taken)
            build = find_one(connection, first)
        if build is None:
            return None
        self._heard[build.id] = now
        return build, taken_as

    def taken(self, id_: str, taken_as: str) -> Build:
        """Return the build that a builder speaks of; it counts as heard.

        Raises:
            UnknownName: it did not take such a build, or another has taken it since.
        """
        with self._database.reading() as connection:
            build = find_one(connection, and_(builds.c.id == id_, builds.c.taken_as == taken_as))
        if build is None or not taken_as:
            raise UnknownName(f"no build {id_[:64]!r} was taken by this builder", hint="Run 'clarion builds'.")
        self._heard[id_] = self._clock()
        return build

    def finish(self, id_: str, taken_as: str, status: BuildStatus, **known: str) -> bool:
        """Move the build that a builder took on to `status`; False if it does not run any more."""
        return self._move(_taken(id_, taken_as), status, known)

    def give_back(self, id_: str, taken_as: str) -> bool:
        """Queue a build again whose builder is being stopped, which is no fault of it; False if it runs no more."""
        again = {**_AGAIN, "takes": builds.c.takes - 1, "reason": "its builder was stopped; once more"}
        with self._database.changing() as connection:
            return change(connection, _taken(id_, taken_as), again)

    def publish_ended(self, id_: str, status: BuildStatus, **known: str) -> bool:
        """Move a build that was being published on to its end; False if it was not."""
        return self._move(and_(builds.c.id == id_, builds.c.status == BuildStatus.PUBLISHING.value), status, known)

    def cancel(self, id_: str, by: str) -> Build:
        """Cancel a build that waits or runs, or the deployment of one that waits to be deployed.

        Raises:
            UnknownName: there is no such build.
            Blocked: it is over, or being published, or being deployed.
        """
        with self._database.changing() as connection:
            build = _one(connection, builds.c.id == id_)
            if build.waits_for:
                self.waiting.cancel(connection, build, by)
                return _one(connection, builds.c.id == id_)
            over = self._over(BuildStatus.CANCELLED, f"cancelled by {by or 'somebody'}")
            change(connection, and_(builds.c.id == id_, builds.c.status.in_(STOPPABLE)), over)
            build = _one(connection, builds.c.id == id_)
        if build.status is not BuildStatus.CANCELLED:
            stands = f"over ({build.status.value})" if build.status.is_final else "being published, too late to cancel"
            raise Blocked(f"build {id_[:8]} is {stands}", hint="Run 'clarion builds'.")
        return build

    def find(self, prefix: str) -> Build:
        """Return the build whose id begins with `prefix`.

        Raises:
            UnknownName: none does, or several do.
        """
        with self._database.reading() as connection:
            found = find_all(connection, builds.c.id.startswith(prefix, autoescape=True), 2)
        if len(found) != 1 or not prefix:
            several = "several builds begin" if found else "no build begins"
            raise UnknownName(f"{several} with {prefix[:64]!r}", hint="Run 'clarion builds' to see them.")
        return found[0]

    def newest(self, repository: str | None = None, limit: int = 20) -> list[Build]:
        """Return builds, newest first."""
        condition = builds.c.number > 0 if repository is None else builds.c.repository == repository
        with self._database.reading() as connection:
            return find_all(connection, condition, limit)

    def of_push(self, push: Push) -> Build:
        """Return the newest build of what was pushed."""
        here = and_(builds.c.repository == push.repository, builds.c.ref == push.ref, builds.c.commit == push.commit)
        with self._database.reading() as connection:
            return _one(connection, here)

    def in_publishing(self) -> list[Build]:
        """Return what is to be published, oldest first."""
        with self._database.reading() as connection:
            return find_all(connection, builds.c.status == BuildStatus.PUBLISHING.value)[::-1]

    def give_up_silent(self) -> list[Build]:
        """Return the builds whose builder went silent: now queued again, or failed."""
        now = self._clock()
        with self._database.reading() as connection:
            running = find_all(connection, _IS_RUNNING)
        # After a start of ours nobody has been heard, which is no builder's fault.
        self._heard = {each.id: self._heard.get(each.id, now) for each in running}
        with self._database.changing() as connection:
            return [self._give_up(connection, id_) for id_ in silent(self._heard, now)]

    def give_up_overdue(self, limit_of: LimitOf) -> list[Build]:
        """Return the builds that failed now because their builder does not end them in time."""
        with self._database.changing() as connection:
            late = overdue(find_all(connection, _IS_RUNNING), limit_of, self._clock())
            for id_, reason in late.items():
                change(connection, builds.c.id == id_, self._over(BuildStatus.FAILED, reason))
            return [_one(connection, builds.c.id == id_) for id_ in late]

    def untold(self) -> list[tuple[Build, int]]:
        """Return the builds of which the record does not know all, oldest first, and how much it knows."""
        is_over = builds.c.status.not_in(UNFINISHED)
        condition = and_(_HAS_BEGUN, (builds.c.told < STARTED) | (is_over & (builds.c.told < FINISHED)))
        wanted = select(*SHOWN, builds.c.told).where(condition).order_by(builds.c.number)
        with self._database.reading() as connection:
            return [(build_in(row), row.told) for row in connection.execute(wanted)]

    def set_told(self, told: Mapping[str, int]) -> None:
        """Keep how much the record knows of builds, by their ids."""
        with self._database.changing() as connection:
            for id_, much in told.items():
                change(connection, builds.c.id == id_, {"told": much})

    def prune(self) -> set[str]:
        """Forget what is old; return the ids of the builds that are left."""
        place = func.row_number().over(partition_by=builds.c.repository, order_by=builds.c.number.desc())
        is_told = (builds.c.told == FINISHED) | ~_HAS_BEGUN
        is_done = and_(builds.c.status.not_in(UNFINISHED), builds.c.waits_for == "", is_told)
        ranked = select(builds.c.number, place.label("place")).where(is_done).subquery()
        old = select(ranked.c.number).where(ranked.c.place > KEPT_BUILDS)
        with self._database.changing() as connection:
            connection.execute(delete(builds).where(builds.c.number.in_(old)))
            for table, kept in ((deliveries, KEPT_DELIVERIES), (pushes, KEPT_PUSHES)):
                newest = connection.execute(select(func.max(table.c.number))).scalar_one() or 0
                connection.execute(delete(table).where(table.c.number <= newest - kept))
            return {id_ for (id_,) in connection.execute(select(builds.c.id))}

    def _move(self, which: ColumnElement[bool], status: BuildStatus, known: Mapping[str, str]) -> bool:
        moved: dict[str, object] = {"reason": "", **known, "status": status.value}
        if status.is_final:
            moved["finished_at"] = self._clock()
        with self._database.changing() as connection:
            return change(connection, which, moved)

    def _over(self, status: BuildStatus, reason: str) -> dict[str, object]:
        return {"status": status.value, "reason": reason, "finished_at": self._clock()}

    def _give_up(self, connection: Connection, id_: str) -> Build:
        running = and_(builds.c.id == id_, _IS_RUNNING)
        again = {**_AGAIN, "reason": "its builder went silent; once more"}
        change(connection, and_(running, builds.c.takes < MOST_TAKES), again)
        change(connection, running, self._over(BuildStatus.FAILED, "its builder went silent twice"))
        return _one(connection, builds.c.id == id_)


def _taken(id_: str, taken_as: str) -> ColumnElement[bool]:
    return and_(builds.c.id == id_, builds.c.taken_as == taken_as, _IS_RUNNING)


def _one(connection: Connection, condition: ColumnElement[bool]) -> Build:
    found = find_one(connection, condition)
    if found is None:
        raise UnknownName("there is no such build any more", hint="Run 'clarion builds'.")
    return found
