"""Which builds there are, and where each stands: `<home>/state/builds.db`, one transaction a change.

- A delivery counts once; so does what it signed.
- A commit that is already queued or being built for the same ref is not built twice.
- A newer push to a branch supersedes its builds that wait or run; a tag supersedes nothing, and what is being
  published is published. Of two whose announcements have overtaken each other, the newer is the one on top.
- A build whose builder has gone silent goes back to the queue once, then fails; one whose builder was stopped, always.

Whatever was answered is on the disk. Every call waits for it, so none belongs on an event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from clarion_controller.builds.build import Build, BuildStatus, Push
from clarion_controller.builds.build_rows import SHOWN, VERSION, build_in, builds, deliveries, metadata
from clarion_controller.state.side_database import open_side_database
from clarion_protocol.errors import Blocked, UnknownName
from clarion_protocol.words import new_id

SILENT_AFTER_S = 120.0
MOST_TAKES = 2
KEPT_BUILDS = 200  # a repository
KEPT_DELIVERIES = 100_000
MAX_REASON = 2000
STARTED, FINISHED = 1, 2  # how much the record knows of a build

_UNFINISHED = [status.value for status in BuildStatus if not status.is_final]
_STOPPABLE = [BuildStatus.QUEUED.value, BuildStatus.RUNNING.value]
_HAS_BEGUN = (builds.c.takes > 0) | (builds.c.told > 0)
_AGAIN = {"status": BuildStatus.QUEUED.value, "taken_as": "", "started_at": None}


class BuildQueue:
    """The queue of one controller; any thread may use it, one changes it at a time."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = open_side_database(path, metadata, VERSION)
        self._clock = clock
        self._lock = threading.Lock()
        # When a builder was last heard; not in the database, which would be written to at every line of a log.
        self._heard: dict[str, float] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._database.dispose()

    def push(self, push: Push, app: str) -> bool:
        """Take a push on, whose app is `app`; False if its delivery was known, or a newer push."""
        return self.push_all([(push, app)])[0]

    def push_all(self, pushes: Sequence[tuple[Push, str]]) -> list[bool]:
        """Take pushes on in one transaction, each with its app; for each, False if it was known, or a newer."""
        with self._changing() as connection:
            return [self._push(connection, push, app) for push, app in pushes]

    def take(self) -> tuple[Build, str] | None:
        """Return the build that waits longest, now running, and what proves who took it; None if none waits."""
        taken_as, now = new_id(), self._clock()
        oldest = select(func.min(builds.c.number)).where(builds.c.status == BuildStatus.QUEUED.value)
        with self._changing() as connection:
            number = connection.execute(oldest).scalar_one()
            if number is None:
                return None
            changed = {"status": "running", "started_at": now, "taken_as": taken_as, "takes": builds.c.takes + 1}
            connection.execute(update(builds).where(builds.c.number == number).values(changed))
            build = _one(connection, builds.c.number == number)
        self._heard[build.id] = now
        return build, taken_as

    def taken(self, id_: str, taken_as: str) -> Build:
        """Return the build that a builder speaks of; it counts as heard.

        Raises:
            UnknownName: it did not take such a build, or another has taken it since.
        """
        with self._database.connect() as connection:
            found = _all(connection, and_(builds.c.id == id_, builds.c.taken_as == taken_as), 1)
        if not found or not taken_as:
            raise UnknownName(f"no build {id_[:64]!r} was taken by this builder", hint="Run 'clarion builds'.")
        self._heard[id_] = self._clock()
        return found[0]

    def finish(self, id_: str, taken_as: str, status: BuildStatus, **known: str) -> bool:
        """Move the build that a builder took on to `status`; False if it does not run any more."""
        mine = and_(builds.c.taken_as == taken_as, builds.c.status == BuildStatus.RUNNING.value)
        return self._move(and_(builds.c.id == id_, mine), status, known)

    def give_back(self, id_: str, taken_as: str) -> bool:
        """Queue a build again whose builder is being stopped, which is no fault of it; False if it runs no more."""
        mine = and_(builds.c.id == id_, builds.c.taken_as == taken_as, builds.c.status == BuildStatus.RUNNING.value)
        again = {**_AGAIN, "takes": builds.c.takes - 1, "reason": "its builder was stopped; once more"}
        with self._changing() as connection:
            return bool(connection.execute(update(builds).where(mine).values(again)).rowcount)

    def publish_ended(self, id_: str, status: BuildStatus, **known: str) -> bool:
        """Move a build that was being published on to its end; False if it was not."""
        return self._move(and_(builds.c.id == id_, builds.c.status == BuildStatus.PUBLISHING.value), status, known)

    def cancel(self, id_: str, by: str) -> Build:
        """Cancel a build that waits or runs.

        Raises:
            Blocked: it is over, or being published.
        """
        with self._changing() as connection:
            self._stop(connection, builds.c.id == id_, BuildStatus.CANCELLED, f"cancelled by {by or 'somebody'}")
            build = _one(connection, builds.c.id == id_)
        if build.status is not BuildStatus.CANCELLED:
            raise Blocked(f"build {id_[:8]} is {build.status.value}, too late to cancel", hint="Run 'clarion builds'.")
        return build

    def find(self, prefix: str) -> Build:
        """Return the build whose id begins with `prefix`.

        Raises:
            UnknownName: none does, or several do.
        """
        with self._database.connect() as connection:
            found = _all(connection, builds.c.id.startswith(prefix, autoescape=True), 2)
        if len(found) != 1 or not prefix:
            several = "several builds begin" if found else "no build begins"
            raise UnknownName(f"{several} with {prefix[:64]!r}", hint="Run 'clarion builds' to see them.")
        return found[0]

    def newest(self, repository: str | None = None, limit: int = 20) -> list[Build]:
        """Return builds, newest first."""
        condition = builds.c.number > 0 if repository is None else builds.c.repository == repository
        with self._database.connect() as connection:
            return _all(connection, condition, limit)

    def of_push(self, push: Push) -> Build:
        """Return the newest build of what was pushed."""
        here = and_(builds.c.repository == push.repository, builds.c.ref == push.ref, builds.c.commit == push.commit)
        with self._database.connect() as connection:
            return _one(connection, here)

    def in_publishing(self) -> list[Build]:
        """Return what is to be published, oldest first."""
        with self._database.connect() as connection:
            found = _all(connection, builds.c.status == BuildStatus.PUBLISHING.value, -1)
        return found[::-1]

    def give_up_silent(self) -> list[Build]:
        """Return the builds whose builder went silent: now queued again, or failed."""
        now = self._clock()
        with self._database.connect() as connection:
            running = _all(connection, builds.c.status == BuildStatus.RUNNING.value, -1)
        # After a start of ours nobody has been heard, which is no builder's fault.
        self._heard = {each.id: self._heard.get(each.id, now) for each in running}
        silent = [id_ for id_, heard in self._heard.items() if now - heard > SILENT_AFTER_S]
        with self._changing() as connection:
            return [self._give_up(connection, id_) for id_ in silent]

    def untold(self) -> list[tuple[Build, int]]:
        """Return the builds of which the record does not know all, oldest first, and how much it knows."""
        is_over = builds.c.status.not_in(_UNFINISHED)
        condition = and_(_HAS_BEGUN, (builds.c.told < STARTED) | (is_over & (builds.c.told < FINISHED)))
        wanted = select(*SHOWN, builds.c.told).where(condition).order_by(builds.c.number)
        with self._database.connect() as connection:
            return [(build_in(row), row.told) for row in connection.execute(wanted)]

    def set_told(self, told: Mapping[str, int]) -> None:
        """Keep how much the record knows of builds, by their ids."""
        with self._changing() as connection:
            for id_, much in told.items():
                connection.execute(update(builds).where(builds.c.id == id_).values(told=much))

    def prune(self) -> set[str]:
        """Forget what is old; return the ids of the builds that are left."""
        place = func.row_number().over(partition_by=builds.c.repository, order_by=builds.c.number.desc())
        is_done = builds.c.status.not_in(_UNFINISHED) & ((builds.c.told == FINISHED) | ~_HAS_BEGUN)
        ranked = select(builds.c.number, place.label("place")).where(is_done).subquery()
        old = select(ranked.c.number).where(ranked.c.place > KEPT_BUILDS)
        with self._changing() as connection:
            connection.execute(delete(builds).where(builds.c.number.in_(old)))
            newest = connection.execute(select(func.max(deliveries.c.number))).scalar_one() or 0
            connection.execute(delete(deliveries).where(deliveries.c.number <= newest - KEPT_DELIVERIES))
            return {id_ for (id_,) in connection.execute(select(builds.c.id))}

    def _push(self, connection: Connection, push: Push, app: str) -> bool:
        if not _is_new(connection, push):
            return False
        here = and_(builds.c.repository == push.repository, builds.c.ref == push.ref, builds.c.status.in_(_UNFINISHED))
        newest = next(iter(_all(connection, here, 1)), None)
        if newest and newest.commit == push.commit:
            return True
        if _is_overtaken(connection, push):
            return False
        if push.ref.startswith("refs/heads/"):
            self._stop(connection, here, BuildStatus.SUPERSEDED, f"superseded by {push.commit[:12]}")
        row = {name: getattr(push, name) for name in ("repository", "ref", "commit", "before", "by")}
        made = {**row, "id": new_id(), "app": app, "status": BuildStatus.QUEUED.value, "queued_at": push.at}
        connection.execute(insert(builds), made)
        return True

    def _stop(self, connection: Connection, which: ColumnElement[bool], status: BuildStatus, reason: str) -> None:
        changed = {"status": status.value, "reason": reason[:MAX_REASON], "finished_at": self._clock()}
        connection.execute(update(builds).where(which, builds.c.status.in_(_STOPPABLE)).values(changed))

    def _move(self, which: ColumnElement[bool], status: BuildStatus, known: Mapping[str, str]) -> bool:
        changed: dict[str, object] = {**known, "status": status.value, "reason": known.get("reason", "")[:MAX_REASON]}
        if status.is_final:
            changed["finished_at"] = self._clock()
        with self._changing() as connection:
            return bool(connection.execute(update(builds).where(which).values(changed)).rowcount)

    def _give_up(self, connection: Connection, id_: str) -> Build:
        again = {**_AGAIN, "reason": "its builder went silent; once more"}
        over = {"status": "failed", "finished_at": self._clock(), "reason": "its builder went silent twice"}
        where = and_(builds.c.id == id_, builds.c.status == BuildStatus.RUNNING.value)
        connection.execute(update(builds).where(where, builds.c.takes < MOST_TAKES).values(again))
        connection.execute(update(builds).where(where).values(over))
        return _one(connection, builds.c.id == id_)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        # SQLite lets one write at a time, and refuses whoever read before and then finds another's write.
        with self._lock, self._database.begin() as connection:
            yield connection


def _is_new(connection: Connection, push: Push) -> bool:
    """Remember what this push is known by; False if any of it was known."""
    names = [push.delivery, *([f"digest {push.digest}"] if push.digest else [])]
    rows = [{"repository": push.repository, "delivery": name} for name in names]
    remember = insert_or_ignore(deliveries).on_conflict_do_nothing()
    return all(connection.execute(remember, row).rowcount for row in rows)


def _is_overtaken(connection: Connection, push: Push) -> bool:
    """Return whether the newest build of this branch was pushed on top of what is announced only now."""
    here = and_(builds.c.repository == push.repository, builds.c.ref == push.ref)
    wanted = select(builds.c.commit, builds.c.before).where(here).order_by(builds.c.number.desc()).limit(1)
    newest = connection.execute(wanted).first()
    # Who goes back to a commit says what the branch was until then: the newest.
    return bool(newest and push.before and newest.before == push.commit and push.before != newest.commit)


def _one(connection: Connection, condition: ColumnElement[bool]) -> Build:
    return _all(connection, condition, 1)[0]


def _all(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[Build]:
    wanted = select(*SHOWN).where(condition).order_by(builds.c.number.desc()).limit(limit)
    return [build_in(row) for row in connection.execute(wanted)]
