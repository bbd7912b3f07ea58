"""Where each destination's things go, as fleet.toml says now: notices to channels, reports to forges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.forges.choose import forge_of
from clarion_controller.forges.report import ForgeReport
from clarion_controller.notice import Notice, Notifier, Undelivered
from clarion_controller.notifiers.choose import notifier_of
from clarion_controller.notifying.destinations import FORGE, NOTIFY
from clarion_controller.notifying.outbox import Pending

T = TypeVar("T")


class Post:
    """Sends what is pending; `fleet` is asked each time, and so are secrets: both may have changed since."""

    def __init__(self, home: Path, fleet: Callable[[], Fleet | None]) -> None:
        self._home, self._fleet = home, fleet

    def send(self, pending: Pending) -> str:
        """Send it, and return what its destination wants remembered of its subject.

        Raises:
            Undelivered: it did not arrive.
            ClarionError: a secret is not there, or fleet.toml does not fit any more.
        """
        if pending.destination.startswith(FORGE):
            return self._tell(pending)
        notice = _read(pending.body, Notice)
        self._notifier(pending.destination.removeprefix(NOTIFY)).send(notice)
        return ""

    def _notifier(self, name: str) -> Notifier:
        fleet = self._fleet() or Fleet()
        found = [channel for channel in fleet.notify if channel.name == name]
        channel: Channel = _still_there(found)
        return notifier_of(channel, self._home, fleet.cluster.name)

    def _tell(self, pending: Pending) -> str:
        found = (self._fleet() or Fleet()).repository.get(pending.destination.removeprefix(FORGE))
        repository: Repository = _still_there([found] if found else [])
        report = _read(pending.body, ForgeReport)
        return forge_of(repository, self._home).tell(report, pending.remembered)


def _still_there(found: list[T]) -> T:
    if not found:
        raise Undelivered("it is not in fleet.toml any more", is_final=True)
    return found[0]


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Undelivered(f"another version of Clarion wrote it: {error}", is_final=True) from error
