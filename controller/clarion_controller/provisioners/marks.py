"""How what is made in a cloud is marked, and what tells that a mark is true. Pure.

- Everything carries the id of its cluster and of the attempt that made it; what is for one night, the night's run.
- What has no run stays: no sweep ever touches it, whatever else it carries.
- Whoever may write tags can give anything any of them. So the run's beginning is also in what a server is made with,
  which no right to write tags changes: the client token of an EC2 instance, the name elsewhere. Only what has both was
  made for that night.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from secrets import token_hex

from clarion_controller.provisioners.provisioner import ServerOrder
from clarion_protocol.errors import BadConfig

CLUSTER = "clarion-cluster"
RUN = "clarion-run"
ATTEMPT = "clarion-attempt"
OURS = (CLUSTER, RUN, ATTEMPT)
MARK_LENGTH = 12
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


def run_of(tags: Mapping[str, str], cluster: str) -> str:
    """Return for which run of this cluster's nights it is, as its tags say; "" if for none."""
    return tags.get(RUN, "") if is_ours(tags, cluster) else ""


def name_in_cloud(order: ServerOrder) -> str:
    """Return its name where each is taken once: what is for a night never takes that of a server which stays."""
    return with_mark(order.name, order.run)


def with_mark(made_as: str, run: str) -> str:
    """Return what a server of that run is made with, and keeps."""
    return f"{made_as}-{_mark_of(run)}" if run else made_as


def was_made_for(made_as: str, run: str) -> bool:
    """Return whether what a server was made with says the same as its tag."""
    mark = _mark_of(run)
    return len(mark) == MARK_LENGTH and mark in made_as.split("-")


def _mark_of(run: str) -> str:
    return re.sub(r"[^a-z0-9]", "", run)[:MARK_LENGTH]
