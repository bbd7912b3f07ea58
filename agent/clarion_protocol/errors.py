"""Every error that Clarion tells somebody, grouped by whose fault it is.

::

    ClarionError
    ├── SignalError            the signed message
    │   ├── BadEnvelope            not a well-formed envelope or document
    │   ├── BadSignature           too few valid signatures by keys of that role
    │   ├── WrongAddress           meant for another cluster, environment, stream or host
    │   ├── OutOfTime              expired, not yet valid, or valid for too long
    │   ├── StaleSequence          older than what this host has already accepted
    │   ├── Equivocation           two different messages under one sequence number
    │   └── NotAuthorised          signed, but not allowed by the policy
    ├── PackageError           the package
    │   ├── BadManifest            the manifest breaks a rule
    │   ├── BadContent             bytes differ from what was signed
    │   ├── UnknownPackage         TUF knows no such app or version
    │   ├── AlreadyPublished       the version exists with other bytes
    │   ├── BuildFailed            a build or test command failed at build time
    │   └── TestsFailed            the package's own tests failed on this host
    ├── HostError              this host
    │   ├── NoSpace                not enough disk for the release
    │   ├── TrustStateLost         both copies of the floors are unreadable
    │   ├── UnitNotAllowed         agent.toml does not allow the unit
    │   ├── RestartFailed          the service manager could not restart a unit
    │   ├── Unhealthy              checks did not hold for min_healthy_time
    │   ├── NothingToGoBackTo      no earlier release is unpacked here
    │   ├── CopiedServer           its identity is that of the server it was copied from
    │   ├── ProvisionFailed        a new server did not come up, or did not join
    │   └── Interrupted            a stop, an abort or a newer deployment came first
    ├── NetworkError           the way between
    │   ├── StoreUnavailable       the package store does not answer
    │   ├── StoreMisbehaved        it answers with something else than was asked for
    │   ├── ControllerUnreachable  the controller does not answer
    │   ├── CloudUnavailable       a cloud's API does not answer, or asks for patience
    │   └── NotDelivered           a notice did not arrive
    └── OperatorError          what was typed or configured
        ├── BadConfig              a file does not parse, or has an unknown key
        ├── UnknownName            no such app, version, environment, host or deployment
        ├── NothingMatches         a filter that matches no host
        ├── JoinRefused            token used, expired or not ours
        ├── CloudRefused           a cloud's API does not know who asks, or forbids it
        ├── Blocked                another deployment, a lock or a freeze is in the way
        ├── WaitTimedOut           the wait ended before what was waited for
        └── NoCluster              no cluster is initialised here

Each class has a `code` that is stable and travels in reports; the message says what is
wrong, `hint` names the next command.
"""

from __future__ import annotations


class ClarionError(Exception):
    """Something went wrong that somebody can do something about."""

    code = "clarion"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message and the hint, as a terminal shows them."""
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    @property
    def sentences(self) -> str:
        """The message and the hint, one after the other, as a report shows them."""
        return f"{self.message}. {self.hint}" if self.hint else self.message


class SignalError(ClarionError):
    """The signed message is at fault; nothing was changed."""

    code = "signal"


class BadEnvelope(SignalError):
    """Not a well-formed envelope or document."""

    code = "signal.bad_envelope"


class BadSignature(SignalError):
    """Too few valid signatures by distinct keys that hold the role."""

    code = "signal.bad_signature"


class WrongAddress(SignalError):
    """Meant for another cluster, environment, stream or host."""

    code = "signal.wrong_address"


class OutOfTime(SignalError):
    """Expired, not yet valid, or valid for longer than the policy permits."""

    code = "signal.out_of_time"


class StaleSequence(SignalError):
    """Older than what this host has already accepted, or a jump too far ahead."""

    code = "signal.stale_sequence"


class Equivocation(SignalError):
    """Two different messages were signed under one sequence number: somebody lies."""

    code = "signal.equivocation"


class NotAuthorised(SignalError):
    """Genuine, but more than the policy allows its signers."""

    code = "signal.not_authorised"


class PackageError(ClarionError):
    """The package is at fault."""

    code = "package"


class BadManifest(PackageError):
    """The manifest breaks a rule of the package format."""

    code = "package.bad_manifest"


class BadContent(PackageError):
    """Bytes differ from what was signed."""

    code = "package.bad_content"


class UnknownPackage(PackageError):
    """The package repository knows no such app or version."""

    code = "package.unknown"


class AlreadyPublished(PackageError):
    """The version exists with other bytes."""

    code = "package.already_published"


class BuildFailed(PackageError):
    """A build or test command failed while the package was built."""

    code = "package.build_failed"


class TestsFailed(PackageError):
    """The package's own tests failed on this host."""

    __test__ = False  # the name is the field's; it is no test of ours
    code = "package.tests_failed"


class HostError(ClarionError):
    """This host is at fault."""

    code = "host"


class NoSpace(HostError):
    """Not enough disk space or inodes for the release."""

    code = "host.no_space"


class TrustStateLost(HostError):
    """Both copies of the floors are unreadable: nothing may be changed until an operator decides."""

    code = "host.trust_state_lost"


class UnitNotAllowed(HostError):
    """The host's own configuration does not let this app restart that unit."""

    code = "host.unit_not_allowed"


class RestartFailed(HostError):
    """The service manager could not restart a unit."""

    code = "host.restart_failed"


class Unhealthy(HostError):
    """The checks did not hold for `min_healthy_time` within `healthy_deadline`."""

    code = "host.unhealthy"


class NothingToGoBackTo(HostError):
    """No earlier release is unpacked and verified on this host."""

    code = "host.nothing_to_go_back_to"


class CopiedServer(HostError):
    """The identity on this disk is that of another server, from which it was copied."""

    code = "host.copied_server"


class ProvisionFailed(HostError):
    """A new server did not come up, or did not join in time."""

    code = "host.provision_failed"


class Interrupted(HostError):
    """A stop, an abort or a newer deployment came before the switch."""

    code = "host.interrupted"


class NetworkError(ClarionError):
    """The way between is at fault; trying again may help."""

    code = "network"


class StoreUnavailable(NetworkError):
    """The package store does not answer, or not in time."""

    code = "network.store_unavailable"


class StoreMisbehaved(NetworkError):
    """The package store answers with something else than was asked for."""

    code = "network.store_misbehaved"


class ControllerUnreachable(NetworkError):
    """The controller does not answer."""

    code = "network.controller_unreachable"


class CloudUnavailable(NetworkError):
    """A cloud's API does not answer, answers nonsense, or asks for patience: what it knows is not known now."""

    code = "network.cloud_unavailable"


class NotDelivered(NetworkError):
    """A notice did not arrive where people read it."""

    code = "network.not_delivered"


class OperatorError(ClarionError):
    """What was typed or configured cannot be done."""

    code = "operator"


class BadConfig(OperatorError):
    """A file does not parse, lacks a key or has an unknown one."""

    code = "operator.bad_config"


class UnknownName(OperatorError):
    """No such app, version, environment, host or deployment."""

    code = "operator.unknown_name"


class NothingMatches(OperatorError):
    """A filter that matches no host."""

    code = "operator.nothing_matches"


class JoinRefused(OperatorError):
    """The join token is used up, expired, or not of this cluster."""

    code = "operator.join_refused"


class CloudRefused(OperatorError):
    """A cloud's API does not accept the credentials, or they lack a permission, which the hint names."""

    code = "operator.cloud_refused"


class Blocked(OperatorError):
    """Another deployment, a lock or a freeze is in the way."""

    code = "operator.blocked"


class WaitTimedOut(OperatorError):
    """The wait ended before what was waited for; that goes on."""

    code = "operator.wait_timed_out"


class NoCluster(OperatorError):
    """No cluster is initialised in this folder."""

    code = "operator.no_cluster"


def all_errors(root: type[ClarionError] = ClarionError) -> dict[str, type[ClarionError]]:
    """Return every error class by its code, for documentation and for reading reports."""
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(all_errors(child))
    return found
