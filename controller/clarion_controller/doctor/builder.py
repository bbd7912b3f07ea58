"""Whether somebody builds what is pushed; what was pushed waits until then, and nothing else is held up."""

from __future__ import annotations

from collections.abc import Iterator

from clarion_controller.api.answers import Finding, Health
from clarion_controller.fleet_toml.fleet import Fleet

SILENT_AFTER_S = 90.0  # a builder that waits asks every 20 s, one that builds speaks more often


def examine_builder(fleet: Fleet, seen: float | None, now: float) -> Iterator[Finding]:
    """Yield whether a builder was heard from lately, if there is anything to build; `seen` and `now` in UTC seconds."""
    if not fleet.repository:
        return
    if seen is not None and now - seen < SILENT_AFTER_S:
        yield Finding(subject="builder", health=Health.OK, sentence="a builder takes what is pushed")
        return
    yield Finding(
        subject="builder",
        health=Health.WARNING,
        sentence="no builder asks for work, so nothing that is pushed is built",
        hint="Run 'systemctl status clarion-builder', or 'clarion builder' in another terminal.",
    )
