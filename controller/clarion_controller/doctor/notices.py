"""Who is told of things: whether every secret that it takes is here and private. Nothing is sent.

What only informs is never in the way of a deployment, so nothing here is worse than a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clarion_controller.api.answers import Finding, Health
from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.table import Secret, Table
from clarion_controller.forges.choose import forge_of
from clarion_controller.notifiers.apprise import is_installed
from clarion_protocol.errors import BadConfig


def examine_notices(fleet: Fleet, home: Path) -> Iterator[Finding]:
    """Yield what is not well with channels and repositories; one sentence if all are, none if there are none."""
    found = [*_channels(fleet, home), *_repositories(fleet, home)]
    yield from found
    if not found and (fleet.notify or fleet.repository):
        sentence = "every secret of channels and repositories is here and private"
        hint = "Whether notices arrive: 'clarion notify test'." if fleet.notify else ""
        yield Finding(subject="notices", health=Health.OK, sentence=sentence, hint=hint)


def _channels(fleet: Fleet, home: Path) -> Iterator[Finding]:
    for channel in fleet.notify:
        subject = f"notify {channel.name}"
        yield from _missing(subject, _way(channel), home)
        if channel.apprise and not is_installed():
            hint = "Run pip install 'clarion[notify]' in the controller's environment."
            yield Finding(subject=subject, health=Health.WARNING, sentence="apprise is not installed", hint=hint)


def _way(channel: Channel) -> Table:
    way: Table = getattr(channel, channel.ways[0])
    return way


def _repositories(fleet: Fleet, home: Path) -> Iterator[Finding]:
    for name, repository in fleet.repository.items():
        missing = list(_missing(f"repository {name}", repository, home))
        yield from missing
        if repository.token and not missing:
            try:
                forge_of(repository, home)
            except BadConfig as error:
                yield _warning(f"repository {name}", error)


def _missing(subject: str, table: Table, home: Path) -> Iterator[Finding]:
    """Yield each secret of a table that is not here, or that others can read."""
    for key in table.__struct_fields__:
        value = getattr(table, key)
        if not isinstance(value, Secret):
            continue
        try:
            value.reveal(home)
        except BadConfig as error:
            yield _warning(subject, error)


def _warning(subject: str, error: BadConfig) -> Finding:
    return Finding(subject=subject, health=Health.WARNING, sentence=error.message, hint=error.hint or "")
