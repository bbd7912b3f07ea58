"""Taking a push on: what counts once, which push of a branch is the newest, what that supersedes.

- A delivery counts once; so does what it signed.
- A commit that is already queued or being built for the same ref is not built twice.
- The newest push to a branch supersedes its builds that wait or run; a tag supersedes nothing, and what is being
  published is published.
- What somebody looked up at the remote is the newest push, whatever was announced.
- An announcement that arrives when a newer push is known builds nothing: what that push became counts. Was it taken for
  an older one meanwhile, and superseded, then it is queued again.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from clarion_controller.builds.build import BRANCHES, Build, BuildStatus, Push
from clarion_controller.builds.build_rows import builds, deliveries, pushes
from clarion_controller.builds.newest_push import Pushed, newest
from clarion_controller.builds.queue_database import STOPPABLE, UNFINISHED, change, find_all, find_one
from clarion_protocol.words import new_id

LOOKED_AT = 50  # pushes of a ref that may have overtaken each other

_SETTLING = (BuildStatus.PUBLISHING, BuildStatus.SUCCEEDED)
_COPIED = ("repository", "app", "ref", "commit", "by", "queued_at")


def take_on(connection: Connection, push: Push, app: str, now: float) -> bool:
    """Take a push on, whose app is `app`; False if its delivery was known, or a newer push."""
    if not _is_new(connection, push):
        return False
    commit = _newest_commit(connection, push)
    if commit == push.commit:
        _build(connection, push, app, now)
        return True
    if push.ref.startswith(BRANCHES):
        _stay_with(connection, push, commit, now)
    return False


def _is_new(connection: Connection, push: Push) -> bool:
    """Remember what this push is known by; False if any of it was known."""
    names = [push.delivery, *([f"digest {push.digest}"] if push.digest else [])]
    rows = [{"repository": push.repository, "delivery": name} for name in names]
    remember = insert_or_ignore(deliveries).on_conflict_do_nothing()
    return all(connection.execute(remember, row).rowcount for row in rows)


def _newest_commit(connection: Connection, push: Push) -> str:
    """Remember a push, and return which of its ref is the newest now."""
    said = Pushed.said(push.commit, push.before)
    row = {"repository": push.repository, "ref": push.ref, "commit": said.commit, "before": said.before}
    connection.execute(insert(pushes), row)
    here = and_(pushes.c.repository == push.repository, pushes.c.ref == push.ref)
    wanted = select(pushes.c.commit, pushes.c.before).where(here).order_by(pushes.c.number.desc()).limit(LOOKED_AT)
    if push.is_looked_up:
        return push.commit
    # By the announcements alone: a build that came later may have been of an older one.
    told = [Pushed(*row) for row in connection.execute(wanted)]
    return newest(told[::-1])


def _build(connection: Connection, push: Push, app: str, now: float) -> None:
    latest = find_one(connection, and_(_of_ref(push), builds.c.status.in_(UNFINISHED)))
    if latest and latest.commit == push.commit:
        return
    if push.ref.startswith(BRANCHES):
        _supersede(connection, _of_ref(push), push.commit, now)
    row = {name: getattr(push, name) for name in ("repository", "ref", "commit", "by")}
    _queue(connection, {**row, "app": app, "queued_at": push.at})


def _stay_with(connection: Connection, push: Push, commit: str, now: float) -> None:
    """Have what was pushed before, and is newer than `push`, be the last word about the branch."""
    latest = find_one(connection, and_(_of_ref(push), builds.c.commit == commit))
    if latest is None:
        return  # it is forgotten, and was over long ago
    later = and_(_of_ref(push), builds.c.number > latest.number)
    _supersede(connection, later, commit, now)
    if _is_needed_again(latest, find_all(connection, later)):
        _queue(connection, {name: getattr(latest, name) for name in _COPIED})


def _is_needed_again(build: Build, later: list[Build]) -> bool:
    """Return whether a build was taken for older than those that came later, and ended or overtaken because of that."""
    if build.status is BuildStatus.CANCELLED:
        return False
    return build.status is BuildStatus.SUPERSEDED or any(each.status in _SETTLING for each in later)


def _supersede(connection: Connection, which: ColumnElement[bool], commit: str, now: float) -> None:
    over = {"status": BuildStatus.SUPERSEDED.value, "reason": f"superseded by {commit[:12]}", "finished_at": now}
    change(connection, and_(which, builds.c.status.in_(STOPPABLE)), over)


def _queue(connection: Connection, row: dict[str, object]) -> None:
    connection.execute(insert(builds), {**row, "id": new_id(), "status": BuildStatus.QUEUED.value})


def _of_ref(push: Push) -> ColumnElement[bool]:
    return and_(builds.c.repository == push.repository, builds.c.ref == push.ref)
