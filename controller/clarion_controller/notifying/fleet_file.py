"""fleet.toml as it was when it last fitted: editing it needs no restart, and a mistake in it silences nobody."""

from __future__ import annotations

from pathlib import Path

import structlog

from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet
from clarion_protocol.errors import BadConfig

_log = structlog.get_logger(__name__)


class FleetFile:
    """The fleet.toml of a home; reading `fleet` is safe from any thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._state: tuple[int, int] | None = None
        self.fleet = Fleet()

    def has_changed(self) -> bool:
        """Read the file if it was written since the last time, and return whether that gave another fleet."""
        state, before = self._state_now(), self.fleet
        if state == self._state:
            return False
        self._state = state
        try:
            self.fleet = load_fleet(self._path)
        except BadConfig as error:
            _log.error("notifying.fleet_kept", reason=error.message, hint=error.hint)
        return self.fleet != before

    def _state_now(self) -> tuple[int, int] | None:
        try:
            now = self._path.stat()
        except OSError:
            return None
        return now.st_mtime_ns, now.st_size
