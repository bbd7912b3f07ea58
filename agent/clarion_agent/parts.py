"""Which service manager and which sandboxes this host has, by its configuration."""

from __future__ import annotations

from pathlib import Path

from clarion_agent.config import Config
from clarion_agent.sandbox.reduced import ReducedSandbox
from clarion_agent.sandbox.systemd import RUN, SystemdSandbox
from clarion_agent.services.supervisord import Supervisord
from clarion_agent.services.systemd import Systemd
from clarion_agent.stages.restart import ServiceManager
from clarion_agent.stages.run_tests import Sandbox


def service_manager_of(config: Config) -> ServiceManager:
    """Return what restarts units here."""
    if config.service_manager == "supervisord":
        return Supervisord(Path(config.supervisord.socket))
    return Systemd()


def sandbox_of(config: Config) -> Sandbox:
    """Return what packages' tests run in here."""
    return SystemdSandbox() if _has_systemd_sandbox(config) else ReducedSandbox()


def checker_of(config: Config) -> Sandbox:
    """Return what exec checks run in here: like the tests, but they reach the network, because they ask the app."""
    if _has_systemd_sandbox(config):
        return SystemdSandbox("clarion-check", RUN / "checks")
    return ReducedSandbox()


def _has_systemd_sandbox(config: Config) -> bool:
    if config.sandbox == "auto":
        return Path("/run/systemd/system").is_dir() and config.service_manager == "systemd"
    return config.sandbox == "systemd"
