"""Who is told of things: whether every secret is here and private, and whether what was to be told arrives.

Nothing is sent: that is for 'clarion notify test'.

What only informs is never in the way of a deployment, so nothing here is worse than a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clarion_controller.api.answers import Finding, Health
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.table import Table
from clarion_controller.forges.choose import forge_of
from clarion_controller.notifiers.apprise import is_installed
from clarion_controller.notifying.alone import is_told
from clarion_controller.notifying.destinations import FORGE, destinations
from clarion_controller.notifying.notices_file import DAMAGED
from clarion_controller.notifying.overview import ChannelStanding, standings
from clarion_protocol.errors import BadConfig


def examine_notices(fleet: Fleet, home: Path) -> Iterator[Finding]:
    """Yield what is not well with channels and repositories; one sentence if all are, none if there are none."""
    found = [*_channels(fleet, home), *_repositories(fleet, home), *_deliveries(fleet, home)]
    yield from found
    if not found and (fleet.notify or fleet.repository):
        sentence = "every secret of channels and repositories is here and private, and nothing is stuck"
        hint = "Whether notices arrive: 'clarion notify test'." if fleet.notify else ""
        yield Finding(subject="notices", health=Health.OK, sentence=sentence, hint=hint)


def _channels(fleet: Fleet, home: Path) -> Iterator[Finding]:
    for channel in fleet.notify:
        subject = f"notify {channel.name}"
        yield from _missing(subject, channel.way, home)
        if channel.apprise and not is_installed():
            hint = "Run pip install 'clarion[notify]' in the controller's environment."
            yield _finding(subject, "apprise is not installed", hint)


def _repositories(fleet: Fleet, home: Path) -> Iterator[Finding]:
    for name, repository in fleet.repository.items():
        missing = list(_missing(f"repository {name}", repository, home))
        yield from missing
        if repository.token and not missing:
            try:
                forge_of(repository, home)
            except BadConfig as error:
                yield _warning(f"repository {name}", error)


def _deliveries(fleet: Fleet, home: Path) -> Iterator[Finding]:
    """Yield what keeps notices from arriving, or has kept them."""
    if destinations(fleet) and not is_told(home):
        hint = "It begins within seconds. If not: 'journalctl -u clarion-controller -g notifying'."
        yield _finding("notices", "the process that tells people does not run", hint)
    try:
        yield from map(_failing, filter(lambda each: each.last_error, standings(home, fleet)))
    except BadConfig as error:
        yield _warning("notices", error)
    damaged = home / "state" / DAMAGED
    if damaged.exists():
        sentence = "the outbox was damaged and begun anew; what waited in it was not told"
        yield _finding("notices", sentence, f"When you have seen this: 'rm {damaged}*'.")


def _failing(channel: ChannelStanding) -> Finding:
    counts = {"waiting": channel.pending, "given up": channel.given_up}
    numbers = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    is_forge = channel.name.startswith(FORGE)
    hint = "Look: 'clarion notify'." if is_forge else f"When it is mended: 'clarion notify test {channel.name}'."
    return _finding(f"notify {channel.name}", f"{numbers}: {channel.last_error}", hint)


def _finding(subject: str, sentence: str, hint: str) -> Finding:
    return Finding(subject=subject, health=Health.WARNING, sentence=sentence, hint=hint)


def _missing(subject: str, table: Table, home: Path) -> Iterator[Finding]:
    """Yield each secret of a table that is not here, or that others can read."""
    for secret in table.secrets.values():
        try:
            secret.reveal(home)
        except BadConfig as error:  # noqa: PERF203 (a handful)
            yield _warning(subject, error)


def _warning(subject: str, error: BadConfig) -> Finding:
    return _finding(subject, error.message, error.hint or "")
