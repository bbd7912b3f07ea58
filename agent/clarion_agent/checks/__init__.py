"""Health checks: each kind is a file whose `failure` returns why it failed, or None."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from clarion_agent.checks import exec_command, http, systemd_active, tcp
from clarion_agent.stages.restart import ServiceManager
from clarion_agent.stages.run_tests import Sandbox
from clarion_protocol.app_config import AppConfig, Check, ExecCheck, HttpCheck, TcpCheck

TIMEOUT_S = 5.0


@dataclass
class Probe:
    """What is to be checked: an app, the version that should run, its folder and units.

    `processes` are the main processes that the units had when they were last seen active.
    """

    app: AppConfig
    version: str
    release: Path
    units: tuple[str, ...]
    services: ServiceManager
    checker: Sandbox
    processes: dict[str, int] = field(default_factory=dict)


def first_failure(probe: Probe) -> str | None:
    """Return why the first check that fails does, or None: all passed. The app's own units are always checked."""
    for unit in probe.units:
        if found := _unit_failure(unit, probe):
            return found
    for check in probe.app.health.checks:
        if found := _failure(check, probe):
            return found
    return None


def _unit_failure(unit: str, probe: Probe) -> str | None:
    """Return that `unit` is down, or that it fell down and was started again since the last look."""
    state = probe.services.state(unit)
    if not state.is_active:
        return f"{unit} is not active"
    before = probe.processes.get(unit, state.main_pid)
    probe.processes[unit] = state.main_pid
    return f"{unit} ended and was started again" if before != state.main_pid else None


def _failure(check: Check, probe: Probe) -> str | None:
    if isinstance(check, HttpCheck):
        return http.failure(check, probe.version, TIMEOUT_S)
    if isinstance(check, TcpCheck):
        return tcp.failure(check, TIMEOUT_S)
    if isinstance(check, ExecCheck):
        return exec_command.failure(check, probe.release, probe.checker, TIMEOUT_S)
    return systemd_active.failure(check.systemd, probe.services)
