"""Which Compute Engine instances are meant: as a filter that Google applies, and as our own verdict.

Each comparison stands in parentheses and so does each group of them: Google's documents show AND and OR side by
side without saying which of them binds. A value stands in quotes, or "123" and "true" would be no strings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Gcp
from clarion_protocol.errors import BadConfig

LONGEST = 63
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,63}:)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_ZONE = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")


def filter_of(source: Gcp) -> str:
    """Return the filter that leaves only what the source means, as far as Google can tell.

    Raises:
        BadConfig: the source names a project, zone, label or state that there cannot be.
    """
    for problem in _problems(source):
        raise BadConfig(f"a gcp source of fleet.toml names {problem}", hint="Correct it, then run 'clarion hosts'.")
    labels = [f'(labels.{key} = "{value}")' if value else f"(labels.{key}:*)" for key, value in source.labels.items()]
    states = " OR ".join(f'(status = "{state}")' for state in source.states)
    return " AND ".join([*labels, *([f"({states})"] if states else [])])


def is_wanted(host: Discovered, source: Gcp) -> bool:
    """Return whether this instance is one of those that the source means."""
    return (
        all(host.tags.get(key) == value for key, value in source.labels.items())
        and (not source.states or host.state in source.states)
        and (not source.zones or host.zone in source.zones)
        and (not source.instance_groups or not set(source.instance_groups).isdisjoint(host.groups))
    )


def _problems(source: Gcp) -> Iterator[str]:
    if not _PROJECT.match(source.project):
        yield f"the project {source.project!r}: an id has a-z, 0-9 and -, as 'gcloud projects list' shows it"
    for zone in source.zones:
        if not _ZONE.match(zone):
            yield f"the zone {zone!r}: such as europe-west1-b, without a path"
    for state in source.states:
        if not re.match(r"[A-Z_]{1,63}\Z", state):
            yield f"the state {state!r}: they are spelled like RUNNING"
    for key, value in source.labels.items():
        if not _fits(key) or not key or not key[0].isalpha():
            yield f"the label {key!r}: a key begins with a lowercase letter; then letters, digits, _ and -"
        if not _fits(value):
            yield f"the label {key} = {value!r}: a value has at most 63 lowercase letters, digits, _ and -"


def _fits(text: str) -> bool:
    """Return whether a label may be written so; Google allows letters of all scripts, but no capital ones."""
    return len(text) <= LONGEST and all(
        character in "_-" or unicodedata.category(character) in ("Ll", "Lo", "Nd", "Nl", "No") for character in text
    )
