"""Check: healthy means that every check passes, all the time, for a while."""

from __future__ import annotations

import time

from clarion_agent.attempt import Switch
from clarion_agent.checks import Probe, first_failure
from clarion_agent.stages.restart import allowed_units
from clarion_protocol.errors import Unhealthy


def do(switch: Switch) -> None:
    """Wait until the new release has been healthy for `min_healthy_time`.

    Raises:
        Unhealthy: it was not within `healthy_deadline`.
    """
    wait_until_healthy(switch, switch.intent.to)


def undo(switch: Switch) -> None:
    """Nothing to undo: looking changes nothing."""


def wait_until_healthy(switch: Switch, release: str) -> None:
    """Wait until `release` has passed every check for `min_healthy_time` without a break.

    Raises:
        Unhealthy: it did not within `healthy_deadline`; names the check that failed last.
    """
    probe = probe_of(switch, release)
    health = probe.app.health
    deadline = time.monotonic() + health.healthy_deadline
    since, failure = time.monotonic(), ""
    while True:
        found = first_failure(probe)
        now = time.monotonic()
        if found:
            since, failure = now, found
        elif now - since >= health.min_healthy_time:
            return
        if now >= deadline:
            raise unhealthy(switch, release, failure or "it took too long to answer")
        switch.stopper.wait(health.interval)


def probe_of(switch: Switch, release: str) -> Probe:
    """Return what is to be checked when `release` should run."""
    app = switch.folder.config_of(release)
    record = switch.folder.record(release)
    version = record.release.version if record else release.partition("-")[2]
    folder = switch.folder.release_folder(release)
    units = allowed_units(switch.host.config, app)
    return Probe(app, version, folder, units, switch.host.services, switch.host.checker)


def unhealthy(switch: Switch, release: str, failure: str) -> Unhealthy:
    """Return the error for a release that is not healthy, with its services' logs put at hand."""
    app = switch.folder.config_of(release)
    switch.log = "\n".join(switch.host.services.log_tail(unit) for unit in app.app.units)
    return Unhealthy(
        f"{app.app.name} {release} was not healthy for {app.health.min_healthy_time} "
        f"within {app.health.healthy_deadline}: {failure}",
        hint=f"Run 'clarion logs {switch.intent.deployment}' to see what its services logged.",
    )
