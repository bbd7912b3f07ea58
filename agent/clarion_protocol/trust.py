"""Every decision whether to believe a message, in one place, without IO.

Order (reference: DESIGN section 5): shape and signatures first, then whom it is for, then
time, then sequence. Each check raises; nothing returns a flag. What is remembered (the
floors) is a value that goes in and comes out; the caller persists it *before* acting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from clarion_protocol.documents import (
    Beacon,
    Count,
    Deployment,
    Document,
    Head,
    Report,
    Signal,
    digest_of,
    read,
)
from clarion_protocol.dsse import digest, open_verified
from clarion_protocol.errors import Equivocation, NotAuthorised, OutOfTime, StaleSequence, WrongAddress
from clarion_protocol.policy import Policy
from clarion_protocol.words import stream_of

D = TypeVar("D", bound=Document)


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest message of a stream that was accepted: nothing older is, ever."""

    epoch: Count = 0
    seq: Count = 0
    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""

    @property
    def position(self) -> tuple[int, int]:
        """What is compared: the epoch first, then the sequence."""
        return (self.epoch, self.seq)


@dataclass(frozen=True)
class Standpoint:
    """What a host knows when it judges a message: who it is, whom it trusts, what time it is (UTC s)."""

    host: str
    policy: Policy
    now: float


@dataclass(frozen=True)
class Accepted:
    """A deployment that may be acted on once `floor` is persisted."""

    deployment: Deployment
    floor: Floor
    is_repeat: bool


def accept_deployment(raw: bytes, at: Standpoint, floor: Floor) -> Accepted:
    """Return the deployment in `raw` if this host may believe it.

    Raises:
        BadEnvelope, BadSignature: not genuine.
        WrongAddress: for another cluster, environment or host.
        OutOfTime: expired, not yet valid, or valid for too long.
        StaleSequence, Equivocation: replayed, too far ahead, or contradicting what was accepted.
        NotAuthorised: of an epoch that the policy has not opened.
    """
    payload = open_verified(raw, Deployment.payload_type, at.policy.deployers, at.policy.deploy_threshold)
    deployment = read(payload, Deployment)
    _check_address(deployment, at)
    if deployment.stream != stream_of(deployment.environment, deployment.app):
        raise WrongAddress(f"stream {deployment.stream!r} is not that of app {deployment.app!r}")
    if not deployment.targets.include(at.host):
        raise WrongAddress("this deployment does not name this host")
    if deployment.not_before > at.now + at.policy.limits.max_clock_skew:
        raise _not_yet(deployment.not_before, at.now)
    _check_time(deployment.issued_at, deployment.expires, at, at.policy.limits.max_deployment_validity)
    if deployment.epoch != at.policy.epoch:
        raise NotAuthorised(f"epoch {deployment.epoch} where the policy's is {at.policy.epoch}")
    offered = Floor(deployment.epoch, deployment.seq, digest(payload))
    return Accepted(deployment, offered, is_repeat=_advance(floor, offered, at.policy.limits.max_seq_jump))


def accept_signal(raw: bytes, at: Standpoint, floor: Floor, deployment: Deployment) -> tuple[Signal, Floor]:
    """Return the signal in `raw`, and the floor to persist, if it belongs to the `deployment` this host has accepted.

    Whether it names this host is the caller's question (`signal.targets.include`): a signal
    for others still raises the floor.

    Raises:
        SignalError: as for `accept_deployment`; WrongAddress also for a signal of another deployment.
    """
    payload = open_verified(raw, Signal.payload_type, at.policy.signals)
    signal = read(payload, Signal)
    _check_address(signal, at)
    if (signal.stream, signal.deployment) != (deployment.stream, deployment.id):
        raise WrongAddress("signal of a deployment that this host has not accepted")
    if signal.deployment_sha256 != digest_of(deployment):
        raise WrongAddress("signal made for other contents of this deployment")
    _check_time(signal.issued_at, signal.expires, at, at.policy.limits.max_signal_validity)
    offered = Floor(deployment.epoch, signal.seq, digest(payload))
    _advance(floor, offered, at.policy.limits.max_seq_jump)
    return signal, offered


def accept_beacon(raw: bytes, at: Standpoint) -> Beacon:
    """Return the beacon in `raw`. Its time bounds this host's clock from below; its heads show what was withheld.

    Raises:
        BadEnvelope, BadSignature, WrongAddress: not genuine or not for this environment.
        OutOfTime: from further in the past or the future than clocks may be apart.
    """
    payload = open_verified(raw, Beacon.payload_type, at.policy.beacons)
    beacon = read(payload, Beacon)
    _check_address(beacon, at)
    apart = beacon.time - at.now
    if abs(apart) > at.policy.limits.max_clock_skew:
        raise OutOfTime(
            f"the controller's clock and this host's are {abs(apart):.0f} s apart",
            hint="Run 'timedatectl' on both and let NTP set the clocks.",
        )
    return beacon


def accept_report(raw: bytes, host: str, host_key: str, last_seq: int) -> Report:
    """Return the report in `raw` if `host` signed it with `host_key` and it is newer than `last_seq`.

    Raises:
        BadEnvelope, BadSignature: not genuine.
        WrongAddress: one host speaks in another's name.
        StaleSequence: replayed.
    """
    report = read(open_verified(raw, Report.payload_type, [host_key]), Report)
    if report.host != host:
        raise WrongAddress(f"host {host} reports in the name of {report.host}")
    if report.seq <= last_seq:
        raise StaleSequence(f"report {report.seq} is not newer than {last_seq}")
    return report


def is_behind(own: Head, head: Head) -> bool:
    """Return whether a beacon's head shows that something was missed."""
    return head.deployment_seq > own.deployment_seq or head.signal_seq > own.signal_seq


def _check_address(document: Deployment | Signal | Beacon, at: Standpoint) -> None:
    if document.cluster != at.policy.cluster:
        raise WrongAddress("message of another cluster")
    if document.environment != at.policy.environment:
        raise WrongAddress(f"message for environment {document.environment!r}, this host is {at.policy.environment!r}")


def _check_time(issued_at: int, expires: int, at: Standpoint, max_validity: int) -> None:
    if issued_at > at.now + at.policy.limits.max_clock_skew:
        raise _not_yet(issued_at, at.now)
    if expires <= at.now:
        raise OutOfTime(f"expired {at.now - expires:.0f} s ago", hint="Deploy again; the old order is not followed.")
    if expires - issued_at > max_validity:
        raise OutOfTime(f"valid for {expires - issued_at} s where the policy permits {max_validity}")


def _not_yet(moment: int, now: float) -> OutOfTime:
    return OutOfTime(
        f"not valid for another {moment - now:.0f} s by this host's clock",
        hint="Run 'timedatectl' on this host and on the signer's: their clocks may be apart.",
    )


def _advance(floor: Floor, offered: Floor, max_jump: int) -> bool:
    """Check `offered` against `floor`; return whether it is the very message accepted before."""
    if offered.position == floor.position:
        if offered.digest != floor.digest:
            raise Equivocation(f"two different messages under sequence {offered.seq}")
        return True
    if offered.position < floor.position:
        raise StaleSequence(f"sequence {offered.seq} is older than {floor.seq}, which this host has accepted")
    if offered.epoch == floor.epoch and offered.seq - floor.seq > max_jump:
        raise StaleSequence(f"sequence jumps from {floor.seq} to {offered.seq}")
    return False
