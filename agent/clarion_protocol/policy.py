"""Who may order what in one environment: a TUF target that the cluster's targets key signs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from clarion_protocol import strict_json
from clarion_protocol.documents import Count, Id, Name, Schema
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.keys import public_key

MAX_POLICY_BYTES = 64 * 1024

KeyHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds that hold whatever is signed; seconds and counts."""

    max_deployment_validity: Count = 30 * 86_400
    max_signal_validity: Count = 3_600
    max_clock_skew: Count = 60
    max_seq_jump: Count = 1_000_000


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys and limits of one environment; `epoch` rises only here, never in a deployment."""

    schema: Schema = 1
    cluster: Id
    environment: Name
    epoch: Count = 1
    deployers: list[KeyHex]
    deploy_threshold: Annotated[int, Meta(ge=1, le=8)] = 1
    signals: list[KeyHex]
    beacons: list[KeyHex]
    limits: Limits = Limits()


def policy_path(environment: str) -> str:
    """Return the TUF target path of an environment's policy."""
    return f"policy/{environment}.json"


def read_policy(raw: bytes) -> Policy:
    """Return the policy that `raw` (already verified by TUF) holds, its keys checked.

    Raises:
        BadEnvelope: not a policy in canonical form, or a key of low order.
    """
    policy = strict_json.decode(raw, Policy, max_bytes=MAX_POLICY_BYTES)
    for key in [*policy.deployers, *policy.signals, *policy.beacons]:
        public_key(key)
    if len(set(policy.deployers)) < policy.deploy_threshold:
        raise BadEnvelope(f"policy wants {policy.deploy_threshold} deployers and names {len(set(policy.deployers))}")
    return policy
