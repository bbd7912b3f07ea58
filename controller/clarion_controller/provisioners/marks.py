"""How what is made in a cloud is marked, and what of that a dead night has left. Pure.

- Everything carries the id of its cluster and of the attempt that made it; what is for one night, the night's run.
- What has no run stays: no sweep ever touches it, whatever else it carries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from secrets import token_hex

from clarion_controller.provisioners.provisioner import ServerOrder
from clarion_protocol.errors import BadConfig

CLUSTER = "clarion-cluster"
RUN = "clarion-run"
ATTEMPT = "clarion-attempt"
OURS = (CLUSTER, RUN, ATTEMPT)
_RUN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")  # what is a label on Google Cloud, too


def marked(tags: Mapping[str, str], order: ServerOrder, cluster: str, attempt: str) -> dict[str, str]:
    """Return the tags of a server: those of its role, and ours, whose place no role's can take.

    A role's `clarion-run`, copied from a server of some night, would have the next night take away one that stays.

    Raises:
        BadConfig: the run cannot be a tag in every cloud.
    """
    if order.run and not _RUN.match(order.run):
        raise BadConfig(f"{order.run!r} cannot mark what a night makes", hint="Use a-z, 0-9, - and _, 63 at most.")
    ours = {CLUSTER: cluster, ATTEMPT: attempt} | ({RUN: order.run} if order.run else {})
    return {key: value for key, value in tags.items() if key not in OURS} | ours


def new_attempt() -> str:
    """Return what tells this attempt to make a server from every other."""
    return token_hex(16)


def is_ours(tags: Mapping[str, str], cluster: str) -> bool:
    """Return whether this cluster made it."""
    return bool(cluster) and tags.get(CLUSTER) == cluster


def is_left(tags: Mapping[str, str], cluster: str, alive: Collection[str]) -> bool:
    """Return whether it is of a night of this cluster that has died."""
    run = tags.get(RUN, "")
    return is_ours(tags, cluster) and bool(run) and run not in alive


def name_in_cloud(order: ServerOrder) -> str:
    """Return its name where each is taken once: what is for a night never takes that of a server which stays."""
    mark = re.sub(r"[^a-z0-9]", "", order.run)[:12]
    return f"{order.name}-{mark}" if mark else order.name
