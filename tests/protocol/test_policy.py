"""A policy names real keys and a threshold that they can reach, or it is none."""

from __future__ import annotations

from typing import Any

import pytest

from clarion_protocol.errors import BadEnvelope
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import MAX_POLICY_BYTES, Policy, policy_path, read_policy
from clarion_protocol.strict_json import dumps

ONE, TWO = (SigningKey(bytes([number]) * 32).public_hex for number in (1, 2))
GOOD: dict[str, Any] = {
    "schema": 1,
    "cluster": "c" * 32,
    "environment": "production",
    "epoch": 1,
    "deployers": [ONE, TWO],
    "deploy_threshold": 2,
    "signals": [ONE],
    "beacons": [TWO],
    "limits": {
        "max_deployment_validity": 2_592_000,
        "max_signal_validity": 3600,
        "max_clock_skew": 60,
        "max_seq_jump": 1_000_000,
    },
}

ATTACKS: dict[str, dict[str, Any]] = {
    "a threshold that its keys cannot reach": {"deploy_threshold": 3},
    "a threshold reached by naming a key twice": {"deployers": [ONE, ONE]},
    "a threshold of zero": {"deploy_threshold": 0},
    "a threshold that is negative": {"deploy_threshold": -1},
    "a deployer key of low order": {"deployers": [ONE, TWO, "01" + "00" * 31]},
    "a signal key of low order": {"signals": ["00" * 32]},
    "a beacon key of low order": {"beacons": ["ec" + "ff" * 30 + "7f"]},
    "a key in capitals": {"deployers": [ONE.upper(), TWO]},
    "a key that is too short": {"signals": [ONE[:-2]]},
    "an environment that is a path": {"environment": "../production"},
    "another schema": {"schema": 2},
    "an unknown limit": {"limits": {**GOOD["limits"], "max_hosts": 5}},
    "a negative limit": {"limits": {**GOOD["limits"], "max_clock_skew": -1}},
    "an unknown field": {"anybody": True},
    "an epoch that is negative": {"epoch": -1},
}


def test_a_good_policy_is_read() -> None:
    """All its fields arrive."""
    policy = read_policy(dumps(GOOD))
    assert policy.deployers == [ONE, TWO]
    assert policy.limits.max_clock_skew == 60


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack: str) -> None:
    """A policy that would weaken anything is no policy."""
    with pytest.raises(BadEnvelope):
        read_policy(dumps({**GOOD, **ATTACKS[attack]}))


@pytest.mark.parametrize("missing", ["cluster", "environment", "deployers", "signals", "beacons", "schema", "limits"])
def test_nothing_is_assumed(missing: str) -> None:
    """What is left out is not filled in: the signed bytes say everything."""
    with pytest.raises(BadEnvelope):
        read_policy(dumps({name: value for name, value in GOOD.items() if name != missing}))


def test_it_is_bounded() -> None:
    """A policy of more bytes than allowed is not even parsed."""
    with pytest.raises(BadEnvelope, match="bytes of JSON"):
        read_policy(dumps({**GOOD, "beacons": [TWO] * 2000}))
    assert MAX_POLICY_BYTES < 2000 * 64


def test_each_environment_has_its_own_path() -> None:
    """A host asks for its own environment's policy only."""
    assert policy_path("production") == "policy/production.json"


def test_what_is_written_is_what_is_read() -> None:
    """Init writes policies with the same code that hosts read them with."""
    policy = Policy(cluster="c" * 32, environment="production", deployers=[ONE], signals=[TWO], beacons=[TWO])
    assert read_policy(dumps(policy)) == policy
