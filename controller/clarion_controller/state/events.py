"""Everything that can happen in a deployment; what is not one of these did not happen.

An action of `decide` is the event of having done it: it is recorded first and carried
out after, so a controller that dies in between carries it out again when it comes back.
Times are UTC seconds. Bodies hold ids and sentences, never keys or logs.
"""

from __future__ import annotations

import msgspec

from clarion_protocol import strict_json
from clarion_protocol.words import DeploymentStatus, HostStatus, Stage, Verb


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One thing that happened at a moment."""

    at: float


class DeploymentAccepted(Event, frozen=True, kw_only=True, tag="deployment_accepted"):
    """A deployment was taken on; `hosts` maps ids to names, `absent` names those without agent."""

    stream: str
    digest: str
    hosts: dict[str, str]
    absent: list[str] = []
    actor: str = ""


class Signalled(Event, frozen=True, kw_only=True, tag="signalled"):
    """A signal to these hosts; `seq` is given when it is signed, `until` is when a lease ends."""

    verb: Verb
    hosts: list[str]
    until: float = 0.0
    seq: int = 0
    reason: str = ""


class HostMoved(Event, frozen=True, kw_only=True, tag="host_moved"):
    """A host reported where it stands."""

    host: str
    status: HostStatus
    stage: Stage | None = None
    reason: str = ""
    error: str = ""


class HostLost(Event, frozen=True, kw_only=True, tag="host_lost"):
    """A host was not heard from, or let its lease run out without a word."""

    host: str
    reason: str


class HostBack(Event, frozen=True, kw_only=True, tag="host_back"):
    """A lost host was heard from again."""

    host: str


class HostAdded(Event, frozen=True, kw_only=True, tag="host_added"):
    """A host joined the fleet after the deployment was accepted, or came back; `fills` is its name without agent."""

    host: str
    name: str
    fills: str = ""


class HostRemoved(Event, frozen=True, kw_only=True, tag="host_removed"):
    """A host is not in the fleet any more: it drops out of every count but that of failures."""

    host: str


class AbsentGone(Event, frozen=True, kw_only=True, tag="absent_gone"):
    """Hosts that never had an agent are not in the fleet any more: they drop out of every count."""

    names: list[str]


class Halted(Event, frozen=True, kw_only=True, tag="halted"):
    """No more leases are given in this deployment."""

    reason: str


class Paused(Event, frozen=True, kw_only=True, tag="paused"):
    """An operator holds the deployment: no leases, and the clock of its deadline stands."""

    actor: str = ""


class Resumed(Event, frozen=True, kw_only=True, tag="resumed"):
    """An operator lets the deployment go on."""

    actor: str = ""


class StatusChanged(Event, frozen=True, kw_only=True, tag="status_changed"):
    """The deployment has another status, for one reason."""

    status: DeploymentStatus
    reason: str


class HostJoined(Event, frozen=True, kw_only=True, tag="host_joined"):
    """A host was enrolled with an invitation."""

    host: str
    name: str
    environment: str
    invite: str


class HostRevoked(Event, frozen=True, kw_only=True, tag="host_revoked"):
    """A host's keys are believed no more."""

    host: str
    name: str
    environment: str


class InviteMade(Event, frozen=True, kw_only=True, tag="invite_made"):
    """A join token was handed out; the log knows its id, not its secret."""

    invite: str
    environment: str
    count: int
    expires: float


class InviteWithdrawn(Event, frozen=True, kw_only=True, tag="invite_withdrawn"):
    """A join token opens nothing any more; who joined with it stays."""

    invite: str
    environment: str


class AgentLost(Event, frozen=True, kw_only=True, tag="agent_lost"):
    """An enrolled host was not heard from for a while, deployment or not; `since` is when it last was."""

    host: str
    name: str
    environment: str
    since: float


class AgentBack(Event, frozen=True, kw_only=True, tag="agent_back"):
    """A host whose agent was lost was heard from again; `since` is when it was last heard from before."""

    host: str
    name: str
    environment: str
    since: float


class BuildStarted(Event, frozen=True, kw_only=True, tag="build_started"):
    """A builder took a build on."""

    build: str
    repository: str
    app: str
    ref: str
    commit: str


class BuildFinished(Event, frozen=True, kw_only=True, tag="build_finished"):
    """A build that was started is over: `status` is a final BuildStatus, `version` what it published."""

    build: str
    repository: str
    app: str
    ref: str
    commit: str
    status: str
    reason: str = ""
    version: str = ""


class NightlyFinished(Event, frozen=True, kw_only=True, tag="nightly_finished"):
    """A night is over: what is `broken`, each with its reason, and since which night; how many checks worked.

    `working` names those: what is in neither was not decided this time.
    """

    night: str
    broken: dict[str, str] = {}
    since: dict[str, str] = {}
    works: int = 0
    skipped: int = 0
    working: list[str] = []


AnyEvent = (
    DeploymentAccepted
    | Signalled
    | HostMoved
    | HostLost
    | HostBack
    | HostAdded
    | HostRemoved
    | AbsentGone
    | Halted
    | Paused
    | Resumed
    | StatusChanged
    | HostJoined
    | HostRevoked
    | InviteMade
    | InviteWithdrawn
    | AgentLost
    | AgentBack
    | BuildStarted
    | BuildFinished
    | NightlyFinished
)
# Made once: making it takes twenty times what reading an event does.
_READER = msgspec.json.Decoder(AnyEvent)


def write_event(event: AnyEvent) -> bytes:
    """Return the event in the one spelling that the log hashes."""
    return strict_json.dumps(event)


def read_event(raw: bytes) -> AnyEvent:
    """Return the event that `raw`, from our own log, holds.

    Raises:
        msgspec.ValidationError: the log holds what no version of this program wrote.
    """
    event: AnyEvent = _READER.decode(raw)
    return event


def kind_of(event: AnyEvent) -> str:
    """Return the kind under which the event is logged."""
    return str(event.__struct_config__.tag)
