"""A systemd check: a unit is active (under supervisord: its program runs)."""

from __future__ import annotations

from clarion_agent.stages.restart import ServiceManager


def failure(unit: str, services: ServiceManager) -> str | None:
    """Return that `unit` is not active, or None if it is."""
    return None if services.state(unit).is_active else f"{unit} is not active"
