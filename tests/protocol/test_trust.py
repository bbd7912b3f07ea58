"""What a host believes: a table of everything that it must not, and properties of what it remembers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import examples

from clarion_protocol.documents import (
    MAX_INT,
    Beacon,
    Deployment,
    Head,
    Plan,
    Report,
    Signal,
    Targets,
    digest_of,
)
from clarion_protocol.dsse import seal
from clarion_protocol.errors import (
    BadEnvelope,
    BadSignature,
    ClarionError,
    Equivocation,
    NotAuthorised,
    OutOfTime,
    SignalError,
    StaleSequence,
    WrongAddress,
)
from clarion_protocol.keys import SigningKey
from clarion_protocol.policy import Limits, Policy
from clarion_protocol.strict_json import dumps
from clarion_protocol.trust import (
    Floor,
    Standpoint,
    accept_beacon,
    accept_deployment,
    accept_report,
    accept_signal,
    is_behind,
)
from clarion_protocol.words import Verb

DEPLOYER, SECOND, SIGNALLER, BEACONER, HOST_KEY = (SigningKey(bytes([number]) * 32) for number in range(1, 6))
HOST, OTHER_HOST, CLUSTER = "a" * 32, "b" * 32, "c" * 32
NOW = 1_800_000_000
POLICY = Policy(
    cluster=CLUSTER,
    environment="production",
    epoch=3,
    deployers=[DEPLOYER.public_hex, SECOND.public_hex],
    signals=[SIGNALLER.public_hex],
    beacons=[BEACONER.public_hex],
)
AT = Standpoint(HOST, POLICY, NOW)
FLOOR = Floor(3, 9, "0" * 64)

DEPLOYMENT = Deployment(
    id="d" * 32,
    cluster=CLUSTER,
    environment="production",
    stream="production/shop",
    epoch=3,
    seq=10,
    app="shop",
    version="1.1.0",
    release=2,
    path="shop/shop-1.1.0.tar.zst",
    length=1000,
    sha256="e" * 64,
    targets=Targets(all=True),
    plan=Plan(),
    issued_at=NOW - 10,
    not_before=NOW - 10,
    expires=NOW + 3600,
)
SIGNAL = Signal(
    cluster=CLUSTER,
    environment="production",
    stream="production/shop",
    seq=10,
    deployment=DEPLOYMENT.id,
    deployment_sha256=digest_of(DEPLOYMENT),
    verb=Verb.LEASE,
    targets=Targets(hosts=[HOST]),
    issued_at=NOW - 1,
    expires=NOW + 60,
)
BEACON = Beacon(cluster=CLUSTER, environment="production", time=NOW, heads={"production/shop": Head(10, 4)})
REPORT = Report(cluster=CLUSTER, host=HOST, seq=8, at=NOW)

Change = dict[str, Any]
Expected = tuple[Change, type[ClarionError]]


def but(document: Any, **changes: object) -> Any:
    return msgspec.structs.replace(document, **changes)


def raw(document: Any, key: SigningKey, **changes: object) -> bytes:
    """Return `document` signed with fields that its own class might not even permit."""
    fields = {**msgspec.json.decode(dumps(document)), **changes}
    return seal(document.payload_type, dumps(fields), [key])


ADDRESS: dict[str, Expected] = {
    "of another cluster": ({"cluster": "f" * 32}, WrongAddress),
    "for another environment": ({"environment": "staging"}, WrongAddress),
    "for an environment whose name begins alike": ({"environment": "production-eu"}, WrongAddress),
}
TIME: dict[str, Expected] = {
    "expired a second ago": ({"expires": NOW - 1}, OutOfTime),
    "expiring this very second": ({"expires": NOW}, OutOfTime),
    "an hour old": ({"issued_at": NOW - 7200, "expires": NOW - 3600}, OutOfTime),
    "issued 61 s ahead": ({"issued_at": NOW + 61}, OutOfTime),
    "valid for ten years": ({"expires": NOW + 10 * 365 * 86_400}, OutOfTime),
    "issued at the beginning of time, to be valid for long": ({"issued_at": 0}, OutOfTime),
}
SHAPE: dict[str, Expected] = {
    "a negative time": ({"issued_at": -1}, BadEnvelope),
    "a time that is a float": ({"expires": NOW + 60.5}, BadEnvelope),
    "a time in quotes": ({"expires": str(NOW + 60)}, BadEnvelope),
    "a time that is true": ({"expires": True}, BadEnvelope),
    "a time beyond the year 9999": ({"expires": 2**63}, BadEnvelope),
    "a sequence beyond 63 bits": ({"seq": 2**63}, BadEnvelope),
    "a negative sequence": ({"seq": -1}, BadEnvelope),
    "another schema": ({"schema": 2}, BadEnvelope),
    "an unknown field": ({"and_also": "this"}, BadEnvelope),
    "an id in capitals": ({"cluster": "C" * 32}, BadEnvelope),
    "a stream that is a path": ({"stream": "production/../../etc"}, BadEnvelope),
}
DEPLOYMENT_ATTACKS: dict[str, Expected] = {
    **ADDRESS,
    **TIME,
    **SHAPE,
    "for other hosts": ({"targets": {"all": False, "hosts": [OTHER_HOST]}}, WrongAddress),
    "for no host": ({"targets": {"all": False, "hosts": []}}, WrongAddress),
    "in another app's stream": ({"stream": "production/blog"}, WrongAddress),
    "in another environment's stream": ({"stream": "staging/shop"}, WrongAddress),
    "not to be begun before an hour from now": ({"not_before": NOW + 3600}, OutOfTime),
    "of an epoch that has passed": ({"epoch": 2, "seq": 100}, NotAuthorised),
    "of an epoch that the policy has not opened": ({"epoch": 4, "seq": 1}, NotAuthorised),
    "older than what was accepted": ({"seq": 8}, StaleSequence),
    "the same sequence with other contents": ({"seq": 9}, Equivocation),
    "sequence zero": ({"seq": 0}, StaleSequence),
    "fast-forward to the last sequence": ({"seq": MAX_INT}, StaleSequence),
    "one beyond the largest jump": ({"seq": 9 + POLICY.limits.max_seq_jump + 1}, StaleSequence),
    "an app that is a path": ({"app": "../shop"}, BadEnvelope),
    "a version with a slash": ({"version": "1/../2"}, BadEnvelope),
    "a hash that is too short": ({"sha256": "e" * 63}, BadEnvelope),
    "an intent that nobody knows": ({"intent": "destroy"}, BadEnvelope),
}
SIGNAL_ATTACKS: dict[str, Expected] = {
    **ADDRESS,
    **TIME,
    **SHAPE,
    "of another deployment": ({"deployment": "f" * 32}, WrongAddress),
    "of another stream": ({"stream": "production/blog"}, WrongAddress),
    "for other contents of the deployment": ({"deployment_sha256": "f" * 64}, WrongAddress),
    "older than what was accepted": ({"seq": 8}, StaleSequence),
    "the same sequence with other contents": ({"seq": 9}, Equivocation),
    "fast-forward to the last sequence": ({"seq": MAX_INT}, StaleSequence),
    "valid for longer than signals may be": ({"expires": NOW + 3601}, OutOfTime),
    "a verb that nobody knows": ({"verb": "reboot"}, BadEnvelope),
}


@pytest.mark.parametrize("attack", DEPLOYMENT_ATTACKS)
def test_a_deployment_is_not_believed(attack: str) -> None:
    """Signed by a deployer, and still refused, for the right reason."""
    changes, error = DEPLOYMENT_ATTACKS[attack]
    with pytest.raises(error):
        accept_deployment(raw(DEPLOYMENT, DEPLOYER, **changes), AT, FLOOR)


@pytest.mark.parametrize("attack", SIGNAL_ATTACKS)
def test_a_signal_is_not_believed(attack: str) -> None:
    """Signed by the controller's signal key, and still refused, for the right reason."""
    changes, error = SIGNAL_ATTACKS[attack]
    with pytest.raises(error):
        accept_signal(raw(SIGNAL, SIGNALLER, **changes), AT, FLOOR, DEPLOYMENT)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param(*ADDRESS["of another cluster"], id="of another cluster"),
        pytest.param(*ADDRESS["for another environment"], id="for another environment"),
        pytest.param({"time": NOW - 61}, OutOfTime, id="61 s old"),
        pytest.param({"time": NOW + 61}, OutOfTime, id="61 s ahead"),
        pytest.param({"time": 0}, OutOfTime, id="of 1970"),
        pytest.param({"heads": {"../x": {"deployment_seq": 1, "signal_seq": 1}}}, BadEnvelope, id="a path as a stream"),
    ],
)
def test_a_beacon_is_not_believed(changes: Change, error: type[ClarionError]) -> None:
    """Signed by the beacon key, and still refused."""
    with pytest.raises(error):
        accept_beacon(raw(BEACON, BEACONER, **changes), AT)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"host": OTHER_HOST}, WrongAddress, id="in another host's name"),
        pytest.param({"seq": 7}, StaleSequence, id="the one that is there already"),
        pytest.param({"seq": 0}, StaleSequence, id="an old one"),
        pytest.param({"running": [{"app": "<script>"}]}, BadEnvelope, id="markup as an app"),
        pytest.param({"facts": {"hostname": "x" * 256}}, BadEnvelope, id="a hostname without end"),
        pytest.param({"boot": "x" * 65}, BadEnvelope, id="a boot id without end"),
    ],
)
def test_a_report_is_not_believed(changes: Change, error: type[ClarionError]) -> None:
    """Signed by the host, and still refused."""
    with pytest.raises(error):
        accept_report(raw(REPORT, HOST_KEY, **changes), HOST, HOST_KEY.public_hex, 7)


def test_what_is_genuine_is_believed() -> None:
    """The documents that all attacks are made from are good themselves."""
    accepted = accept_deployment(DEPLOYMENT.sealed(DEPLOYER), AT, FLOOR)
    assert (accepted.deployment, accepted.is_repeat) == (DEPLOYMENT, False)
    assert accepted.floor.position == (3, 10)
    signal, floor = accept_signal(SIGNAL.sealed(SIGNALLER), AT, FLOOR, DEPLOYMENT)
    assert (signal, floor.position) == (SIGNAL, (3, 10))
    assert accept_beacon(BEACON.sealed(BEACONER), AT) == BEACON
    assert accept_report(REPORT.sealed(HOST_KEY), HOST, HOST_KEY.public_hex, 7) == REPORT


Accept = Callable[[bytes], object]
ROLES: dict[str, tuple[Any, SigningKey, Accept]] = {
    "deployment": (DEPLOYMENT, DEPLOYER, lambda envelope: accept_deployment(envelope, AT, FLOOR)),
    "signal": (SIGNAL, SIGNALLER, lambda envelope: accept_signal(envelope, AT, FLOOR, DEPLOYMENT)),
    "beacon": (BEACON, BEACONER, lambda envelope: accept_beacon(envelope, AT)),
    "report": (REPORT, HOST_KEY, lambda envelope: accept_report(envelope, HOST, HOST_KEY.public_hex, 7)),
}


@pytest.mark.parametrize(("role", "signer"), list(itertools.product(ROLES, ROLES)))
def test_only_the_keys_of_its_role_sign_a_document(role: str, signer: str) -> None:
    """A stolen signal key signs no deployment, a beacon key no signal, a host nothing but its reports."""
    document, _, accept = ROLES[role]
    envelope = document.sealed(ROLES[signer][1])
    if signer == role:
        accept(envelope)
        return
    with pytest.raises(BadSignature):
        accept(envelope)


@pytest.mark.parametrize(("role", "offered"), [pair for pair in itertools.product(ROLES, ROLES) if len(set(pair)) == 2])
def test_no_document_passes_for_one_of_another_kind(role: str, offered: str) -> None:
    """Even signed by the right key a document is read as what it is only."""
    document, key, accept = ROLES[role][0], ROLES[role][1], ROLES[role][2]
    other = ROLES[offered][0]
    with pytest.raises(BadEnvelope):
        accept(other.sealed(key))
    with pytest.raises(BadEnvelope):
        accept(seal(document.payload_type, dumps(other), [key]))


def test_two_deployers_are_needed_where_the_policy_says_so() -> None:
    """Two distinct keys, and one key twice is one."""
    strict = Standpoint(HOST, but(POLICY, deploy_threshold=2), NOW)
    for envelope in (DEPLOYMENT.sealed(DEPLOYER), DEPLOYMENT.sealed(DEPLOYER, DEPLOYER)):
        with pytest.raises(BadSignature):
            accept_deployment(envelope, strict, FLOOR)
    assert accept_deployment(DEPLOYMENT.sealed(DEPLOYER, SECOND), strict, FLOOR).deployment == DEPLOYMENT


def test_a_key_that_left_the_policy_signs_no_more() -> None:
    """Yesterday's deployer is nobody today."""
    without = Standpoint(HOST, but(POLICY, deployers=[SECOND.public_hex]), NOW)
    with pytest.raises(BadSignature):
        accept_deployment(DEPLOYMENT.sealed(DEPLOYER), without, FLOOR)


def test_only_the_diagonal_of_clusters_environments_and_hosts_acts() -> None:
    """Of all combinations of sender and receiver exactly those that match are believed."""
    believed = 0
    places = list(itertools.product(["1" * 32, "2" * 32], ["production", "staging"], ["3" * 32, "4" * 32]))
    for sender, receiver in itertools.product(places, places):
        cluster, environment, host = sender
        deployment = but(
            DEPLOYMENT,
            cluster=cluster,
            environment=environment,
            stream=f"{environment}/shop",
            targets=Targets(hosts=[host]),
        )
        policy = but(POLICY, cluster=receiver[0], environment=receiver[1])
        try:
            accept_deployment(deployment.sealed(DEPLOYER), Standpoint(receiver[2], policy, NOW), FLOOR)
        except WrongAddress:
            assert sender != receiver
        else:
            assert sender == receiver
            believed += 1
    assert believed == len(places)


def test_the_same_message_again_is_a_harmless_repeat() -> None:
    """A repeat is recognised by its digest and raises nothing."""
    first = accept_deployment(DEPLOYMENT.sealed(DEPLOYER), AT, FLOOR)
    again = accept_deployment(DEPLOYMENT.sealed(DEPLOYER, SECOND), AT, first.floor)
    assert again.is_repeat
    assert again.floor == first.floor


def test_a_new_epoch_begins_its_own_sequence() -> None:
    """After a fast-forward the policy opens an epoch, and sequence 1 counts again."""
    risen = Standpoint(HOST, but(POLICY, epoch=4), NOW)
    accepted = accept_deployment(but(DEPLOYMENT, epoch=4, seq=1).sealed(DEPLOYER), risen, Floor(3, MAX_INT, "0" * 64))
    assert accepted.floor.position == (4, 1)
    with pytest.raises((NotAuthorised, StaleSequence)):
        accept_deployment(but(DEPLOYMENT, epoch=3, seq=MAX_INT).sealed(DEPLOYER), risen, accepted.floor)


def test_a_signal_for_others_still_raises_the_floor() -> None:
    """What is not for this host is remembered all the same, so that it cannot be replayed to it either."""
    _, floor = accept_signal(but(SIGNAL, targets=Targets(hosts=[OTHER_HOST])).sealed(SIGNALLER), AT, FLOOR, DEPLOYMENT)
    assert floor.position == (3, 10)


@pytest.mark.parametrize(
    ("own", "head", "behind"),
    [
        (Head(1, 1), Head(1, 1), False),
        (Head(1, 1), Head(2, 0), True),
        (Head(1, 1), Head(1, 2), True),
        (Head(2, 2), Head(1, 1), False),
    ],
)
def test_what_a_beacon_shows_was_missed(own: Head, head: Head, behind: bool) -> None:
    """Either sequence ahead means that something is to be asked for."""
    assert is_behind(own, head) is behind


ENVELOPES = {name: document.sealed(key) for name, (document, key, _) in ROLES.items()}


@settings(max_examples=examples(300))
@given(st.sampled_from(sorted(ROLES)), st.data())
def test_no_flipped_bit_is_believed(role: str, data: st.DataObject) -> None:
    """Any bit of any document."""
    envelope = bytearray(ENVELOPES[role])
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SignalError):
        ROLES[role][2](bytes(envelope))


SENT = [but(DEPLOYMENT, seq=seq, id=f"{seq:032x}").sealed(DEPLOYER) for seq in range(1, 8)]


@given(st.lists(st.integers(0, len(SENT) - 1), max_size=30))
def test_in_any_order_and_number_the_floor_only_rises(arrivals: list[int]) -> None:
    """Permuted, repeated and lost messages: what is acted on rises strictly, and ends at the highest that came."""
    floor, acted = Floor(3), []
    for index in arrivals:
        try:
            accepted = accept_deployment(SENT[index], AT, floor)
        except StaleSequence:
            continue
        if not accepted.is_repeat:
            acted.append(accepted.deployment.seq)
        assert accepted.floor.position >= floor.position
        floor = accepted.floor
    assert acted == sorted(set(acted))
    assert floor.seq == (max(arrivals) + 1 if arrivals else 0)


@given(st.integers(-200, 200), st.integers(-200, 200), st.integers(1, 7200))
def test_validity_has_two_sides(issued: int, now: int, validity: int) -> None:
    """For any clock a signal is believed only between its times, with the skew that the policy permits."""
    signal = but(SIGNAL, issued_at=NOW + issued, expires=NOW + issued + validity)
    at = Standpoint(HOST, but(POLICY, limits=Limits(max_clock_skew=60, max_signal_validity=3600)), NOW + now)
    in_time = issued <= now + 60 and now < issued + validity and validity <= 3600
    try:
        accept_signal(signal.sealed(SIGNALLER), at, FLOOR, DEPLOYMENT)
    except OutOfTime:
        assert not in_time
    else:
        assert in_time
