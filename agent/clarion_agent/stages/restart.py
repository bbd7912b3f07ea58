"""Restart: make the app's units run what `current` points to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from clarion_agent.attempt import Switch
from clarion_agent.config import Config
from clarion_protocol.app_config import AppConfig
from clarion_protocol.errors import UnitNotAllowed


@dataclass(frozen=True)
class UnitState:
    """Whether a unit is active, and its main process (0 if it has none)."""

    is_active: bool
    main_pid: int = 0


class ServiceManager(Protocol):
    """What starts and stops services on this host."""

    def restart(self, unit: str) -> None:
        """Restart `unit` and return once it counts as started.

        Raises:
            RestartFailed: it could not be started.
        """

    def stop(self, unit: str) -> None:
        """Stop `unit`; that it does not run is no error."""

    def state(self, unit: str) -> UnitState:
        """Return how `unit` is now; one that is not known is not active."""

    def log_tail(self, unit: str) -> str:
        """Return the end of what `unit` has logged, or nothing if that cannot be had."""


def do(switch: Switch) -> None:
    """Restart the units of the new release, in the order of clarion.toml.

    Raises:
        UnitNotAllowed: agent.toml does not let this app restart one of them.
        RestartFailed: one of them could not be started.
    """
    restart_units(switch, switch.intent.to)


def undo(switch: Switch) -> None:
    """Nothing here: `activate` restarts once the link is back."""


def restart_units(switch: Switch, release: str) -> None:
    """Restart the units that `release` names.

    Raises:
        UnitNotAllowed, RestartFailed: as `do` does.
    """
    for unit in allowed_units(switch.host.config, switch.folder.config_of(release)):
        switch.log = ""
        try:
            switch.host.services.restart(unit)
        except Exception:
            switch.log = switch.host.services.log_tail(unit)
            raise


def stop_units(switch: Switch, release: str) -> None:
    """Stop the units that `release` names: there is no earlier release that they could run."""
    for unit in allowed_units(switch.host.config, switch.folder.config_of(release)):
        switch.host.services.stop(unit)


def allowed_units(config: Config, app: AppConfig) -> tuple[str, ...]:
    """Return the units of an app, all of which this host allows it to restart.

    Raises:
        UnitNotAllowed: one of them it does not.
    """
    for unit in app.app.units:
        if unit not in config.units_of(app.app.name):
            raise UnitNotAllowed(
                f"{app.app.name} wants to restart {unit}, which this host does not allow",
                hint=f'Add "{unit}" to units under [app.{app.app.name}] in /etc/clarion-agent/agent.toml, '
                "then 'systemctl restart clarion-agent'.",
            )
    return app.app.units
