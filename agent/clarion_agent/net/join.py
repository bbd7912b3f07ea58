"""How a host becomes part of a cluster: all or nothing, and nothing on first sight.

The token carries the fingerprints of both things that a host has to believe: the transport
key, which the controller must own to read the first word, and the package root, with which
everything else is verified. The identity appears last, by one rename, when policy and
metadata are here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from clarion_agent import durable
from clarion_agent.floors import FloorFiles
from clarion_agent.identity import FOLDER, Identity, Record, has_joined
from clarion_agent.net import outbox
from clarion_agent.net.applicant import BEGUN, Applicant, Wish
from clarion_agent.net.join_talk import AGAIN, ask_patiently
from clarion_protocol.errors import JoinRefused
from clarion_protocol.invite import Admission, Token

FetchPolicy = Callable[[Record, bytes], object]
"""Brings metadata and policy of the record's environment below `trust`, beginning at this root; raises if it cannot."""


def join(token: Token, wish: Wish, state_dir: Path, fetch_policy: FetchPolicy) -> Record:
    """Make this host part of the token's cluster and return its record.

    Raises:
        JoinRefused: it has joined already, the controller refuses, or it is not the token's cluster.
        NetworkError: controller or package store cannot be reached.
        SignalError: the policy is not believed.
    """
    refuse_second_join(state_dir)
    applicant = Applicant.of(state_dir, token.id, wish)
    admission = ask_patiently(token, applicant)
    check_admission(token, admission)
    identity = identity_of(token, applicant, admission)
    _forget_former_life(state_dir)
    fetch_policy(identity.record, identity.root)
    identity.save(state_dir)
    durable.remove_file(state_dir / BEGUN)
    return identity.record


def refuse_second_join(state_dir: Path) -> None:
    """Return if this host has no identity.

    Raises:
        JoinRefused: it has.
    """
    if has_joined(state_dir):
        raise JoinRefused(
            "this host has joined a cluster already",
            hint=f"Run 'clarion-agent status'. To join anew, stop the agent and move {state_dir / FOLDER} away.",
        )


def check_admission(token: Token, admission: Admission) -> None:
    """Return if `admission` is one to the token's cluster.

    Raises:
        JoinRefused: another cluster, or another package root.
    """
    if admission.cluster != token.cluster:
        raise JoinRefused("the controller admits to another cluster than the token's", hint=AGAIN)
    if hashlib.sha256(admission.root.encode()).hexdigest() != token.root_sha256:
        raise JoinRefused("the controller sends another package root than the token's", hint=AGAIN)


def identity_of(token: Token, applicant: Applicant, admission: Admission) -> Identity:
    """Return what this host keeps of a checked admission."""
    record = Record(
        host=admission.host,
        name=admission.name,
        cluster=admission.cluster,
        environment=admission.environment,
        groups=admission.groups,
        address=token.address,
        signal_port=admission.signal_port,
        report_port=admission.report_port,
        package_url=admission.package_url,
        server_key=token.transport_key,
        transport_public=applicant.transport.public,
        instance=applicant.wish.instance,
    )
    return Identity(record, admission.root.encode(), applicant.sign_key, applicant.transport.secret)


def _forget_former_life(state_dir: Path) -> None:
    """Begin with fresh floors: those of an earlier identity belong to another cluster, or were lost."""
    for name in ("trust", outbox.FOLDER, "envelopes"):
        durable.remove_tree(state_dir / name)
    durable.make_folder(state_dir / "trust", mode=0o700)
    FloorFiles(state_dir / "trust").begin()
