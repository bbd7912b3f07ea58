"""The controller's home: its keys, what they signed, and the room that is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import psutil

from clarion_controller.api.answers import Finding, Health
from clarion_controller.cluster import Cluster
from clarion_controller.key_files import KeyFolder
from clarion_controller.publishing.tuf_change import TOP_LEVEL, is_expiring, is_old
from clarion_protocol.errors import BadConfig, ClarionError

ONLINE = ("signal", "beacon", "snapshot", "timestamp")  # what `clarion serve` signs with
ROOM = 2 * 2**30  # bytes; less than that is a handful of packages


def examine_home(cluster: Cluster) -> Iterator[Finding]:
    """Yield how keys, metadata, policies and disk are."""
    yield from _keys(KeyFolder(cluster.home / "keys"))
    yield from _metadata(cluster)
    yield from _policies(cluster)
    free = psutil.disk_usage(str(cluster.home)).free
    sentence = f"{free / 1e9:.1f} GB are free in {cluster.home}"
    if free < ROOM:
        yield Finding(subject="disk", health=Health.WARNING, sentence=sentence, hint=f"Run 'df -h {cluster.home}'.")
    else:
        yield Finding(subject="disk", health=Health.OK, sentence=sentence)


def _keys(keys: KeyFolder) -> Iterator[Finding]:
    found = [finding for name in ONLINE for finding in _key(keys, name)]
    yield from found
    if not found:
        yield Finding(subject="keys", health=Health.OK, sentence=f"the keys {', '.join(ONLINE)} are here and private")
    if keys.has("root"):
        sentence = "the root key is still on this machine: whoever steals it can replace every other key"
        hint = f"Move {keys.file('root')} to where no network reaches; docs/how-to/take-keys-offline.md says how."
        yield Finding(subject="keys", health=Health.WARNING, sentence=sentence, hint=hint)


def _key(keys: KeyFolder, name: str) -> Iterator[Finding]:
    try:
        keys.read(name)
    except BadConfig as error:
        yield Finding(subject="keys", health=Health.FAILED, sentence=error.message, hint=error.hint or "")


def _metadata(cluster: Cluster) -> Iterator[Finding]:
    now = datetime.now(timezone.utc)
    current = cluster.repository.files.current()
    roles = {role: current.metadata(role).signed.expires for role in (*TOP_LEVEL, *current.roles())}
    # One that is old and was not renewed lacks its key; before it expires, somebody has to bring it.
    late = {role: expires for role, expires in roles.items() if is_old(role, expires, now)}
    urgent = {role: expires for role, expires in late.items() if is_expiring(role, expires, now)}
    for role, expires in urgent.items():
        health = Health.FAILED if expires <= now else Health.WARNING
        sentence = f"the package metadata of {role} {'expired' if expires <= now else 'expires'} on {expires:%Y-%m-%d}"
        hint = f"Bring {role}.key to {cluster.home}/keys for an hour: 'clarion serve' signs it anew."
        yield Finding(subject="metadata", health=health, sentence=sentence, hint=hint)
    if not urgent:
        first = min(roles.values())
        sentence = f"the package metadata is whole and signed; the next part of it expires on {first:%Y-%m-%d}"
        yield Finding(subject="metadata", health=Health.OK, sentence=sentence)


def _policies(cluster: Cluster) -> Iterator[Finding]:
    """Yield each environment in which nothing can be deployed: the controller would not even start again."""
    for environment in cluster.fleet.environment:
        try:
            cluster.policy(environment)
        except ClarionError as error:  # noqa: PERF203 (each environment for itself)
            yield Finding(subject="policy", health=Health.FAILED, sentence=error.message, hint=error.hint or "")
