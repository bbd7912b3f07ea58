"""fleet.toml as it was when it last fitted: editing it needs no restart, and a mistake in it silences nobody."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet
from clarion_protocol.errors import BadConfig

# Half of a file that is being written may fit as well, and what it does not name yet would count as removed.
SETTLES_S = 1.0

_log = structlog.get_logger(__name__)

_State = tuple[int, int]  # when it was written (ns), its size


class FleetFile:
    """The fleet.toml of a home; reading `fleet` is safe from any thread. It is None until there is one that fits."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._read: _State | None = None
        self._seen: tuple[_State | None, float] = (None, 0.0)
        self.fleet: Fleet | None = None

    def has_changed(self) -> bool:
        """Read the file if it was written since the last time, and return whether that gave another fleet."""
        state, before = self._state_now(), self.fleet
        if state == self._read or state is None or not self._has_settled(state):
            return False
        self._read = state
        try:
            self.fleet = load_fleet(self._path)
        except BadConfig as error:
            _log.error("notifying.fleet_kept", reason=error.message, hint=error.hint)
        return self.fleet != before

    def _has_settled(self, state: _State) -> bool:
        """Return whether nobody has written the file for a moment, by the file's clock or by ours."""
        now = time.monotonic()
        if self._seen[0] != state:
            self._seen = (state, now)
        return time.time() - state[0] / 1e9 > SETTLES_S or now - self._seen[1] > SETTLES_S

    def _state_now(self) -> _State | None:
        try:
            now = self._path.stat()
        except OSError:
            return None
        return now.st_mtime_ns, now.st_size
