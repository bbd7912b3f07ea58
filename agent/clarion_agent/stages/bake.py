"""Bake: watch the new release under traffic for as long as the deployment's plan says."""

from __future__ import annotations

import time

from clarion_agent.attempt import Switch
from clarion_agent.checks import first_failure
from clarion_agent.stages.check import probe_of, unhealthy


def do(switch: Switch) -> None:
    """Keep checking for `bake_time`.

    Raises:
        Unhealthy: a check failed twice in a row; once may be chance.
    """
    probe = probe_of(switch, switch.intent.to)
    end = time.monotonic() + switch.intent.bake_time
    failures = 0
    while time.monotonic() < end:
        failure = first_failure(probe)
        failures = failures + 1 if failure else 0
        if failure and failures == 2:
            raise unhealthy(switch, switch.intent.to, f"{failure}, under traffic")
        switch.stopper.wait(probe.app.health.interval)


def undo(switch: Switch) -> None:
    """Nothing to undo: looking changes nothing."""
