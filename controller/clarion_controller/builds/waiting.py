"""Builds that succeeded and could not be deployed yet: which wait, for what, and how each wait ends."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_

from clarion_controller.builds.build import Build
from clarion_controller.builds.build_rows import builds
from clarion_controller.builds.queue_database import QueueDatabase, change, find_all, find_one
from clarion_protocol.errors import Blocked


class Waiting:
    """The deployments that wait; whoever is about to order one holds it, so that nobody cancels it meanwhile."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database
        self._held: set[str] = set()  # not on the disk: after a crash nobody orders anything

    def all(self) -> list[Build]:
        """Return the builds whose deployment waits, oldest first."""
        with self._database.reading() as connection:
            return find_all(connection, builds.c.waits_for != "")[::-1]

    def hold(self, id_: str) -> bool:
        """Keep a deployment from being cancelled while it is ordered; False if it does not wait any more."""
        with self._database.changing() as connection:
            if find_one(connection, _waits(id_)) is None:
                return False
            self._held.add(id_)
            return True

    def let_go(self, id_: str) -> None:
        """Let a deployment be cancelled again."""
        self._held.discard(id_)

    def go_on(self, id_: str, reason: str) -> None:
        """Keep why a deployment still waits."""
        with self._database.changing() as connection:
            change(connection, _waits(id_), {"reason": reason})

    def end(self, id_: str, reason: str, deployed_to: str) -> bool:
        """End the wait of a build; False if it did not wait any more."""
        ended: dict[str, object] = {"waits_for": "", "reason": reason, "deployed_to": deployed_to}
        with self._database.changing() as connection:
            return change(connection, _waits(id_), ended)

    def cancel(self, connection: Connection, build: Build, by: str) -> None:
        """End the wait of a build because somebody says so.

        Raises:
            Blocked: it is being ordered at this moment.
        """
        if build.id in self._held:
            raise Blocked(
                f"build {build.id[:8]} is just being ordered for {build.waits_for}",
                hint="Look again in a moment: 'clarion builds'.",
            )
        reason = f"not deployed to {build.waits_for}: cancelled by {by or 'somebody'}"
        change(connection, _waits(build.id), {"waits_for": "", "reason": reason})


def _waits(id_: str) -> ColumnElement[bool]:
    return and_(builds.c.id == id_, builds.c.waits_for != "")
