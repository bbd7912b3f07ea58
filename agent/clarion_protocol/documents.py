"""The signed documents: what runs where, what happens now, what the time is, what happened.

Units: times are whole UTC seconds since the epoch, durations are seconds, lengths bytes.
Every document is closed (an unknown field is an error), carries `schema: 1`, and is
carried in a DSSE envelope of its own payload type, so that none can pass for another.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeVar

import msgspec
from msgspec import Meta

from clarion_protocol import strict_json
from clarion_protocol.dsse import MAX_ENVELOPE_BYTES, digest, seal
from clarion_protocol.errors import BadEnvelope
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import ID, NAME, SHA256, STREAM, VERSION, HostStatus, Intent, Joiners, Stage, Strategy, Verb

MAX_INT = 2**63 - 1
MAX_LOG_TAIL = 16_000

Schema = Annotated[int, Meta(ge=1, le=1)]
Id = Annotated[str, Meta(pattern=ID)]
Name = Annotated[str, Meta(pattern=NAME)]
Version = Annotated[str, Meta(pattern=VERSION)]
Sha256 = Annotated[str, Meta(pattern=SHA256)]
StreamName = Annotated[str, Meta(pattern=STREAM)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Time = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # the end of the year 9999
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Sentence = Annotated[str, Meta(max_length=1000)]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all signed documents share."""

    payload_type: ClassVar[str]

    schema: Schema = 1

    def sealed(self, *signers: SigningKey) -> bytes:
        """Return this document in an envelope signed by `signers`.

        Raises:
            BadEnvelope: it breaks its own schema, so nobody would ever open it.
        """
        payload = strict_json.dumps(self)
        read(payload, type(self))
        return seal(self.payload_type, payload, signers)


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which hosts are meant: all of the environment, or those listed by id."""

    all: bool = False
    hosts: list[Id] = []

    def include(self, host: str) -> bool:
        """Return whether the host with this id is meant."""
        return self.all or host in self.hosts


class ReleaseRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release of an app, named so that it cannot be confused with another."""

    version: Version
    release: Count
    sha256: Sha256


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a rollout walks; part of what deployers sign, so that a controller cannot hurry it.

    `max_parallel` and `max_unreachable` are a count ("3") or a share of the targets ("25%"). `joiners` says what
    a host gets that appears while the rollout is under way.
    """

    type: Strategy = Strategy.ROLLING
    max_parallel: str = "25%"
    max_failures: Count = 0
    max_unreachable: str = "5%"
    auto_rollback: bool = True
    bake_time: Seconds = 0.0
    lease_timeout: Seconds = 60.0
    progress_deadline: Seconds = 600.0
    joiners: Joiners = Joiners.NEW


class Deployment(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attempt to bring a fixed set of hosts to a version, signed by deployers."""

    payload_type = "application/vnd.clarion.deployment.v1+json"

    id: Id
    cluster: Id
    environment: Name
    stream: StreamName
    epoch: Count
    seq: Count
    app: Name
    version: Version
    release: Count
    path: Annotated[str, Meta(max_length=256)]
    length: Count
    sha256: Sha256
    targets: Targets
    plan: Plan
    intent: Intent = Intent.INSTALL
    go_back_to: ReleaseRef | None = None
    issued_at: Time
    not_before: Time
    expires: Time
    actor: Annotated[str, Meta(max_length=200)] = ""
    reason: Sentence = ""

    @property
    def ref(self) -> ReleaseRef:
        """The release that this deployment brings."""
        return ReleaseRef(self.version, self.release, self.sha256)


class Signal(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the controller orders now, inside a deployment that deployers signed."""

    payload_type = "application/vnd.clarion.signal.v1+json"

    cluster: Id
    environment: Name
    stream: StreamName
    seq: Count
    deployment: Id
    deployment_sha256: Sha256
    verb: Verb
    targets: Targets
    issued_at: Time
    expires: Time
    reason: Sentence = ""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest sequence numbers of a stream."""

    deployment_seq: Count = 0
    signal_seq: Count = 0


class Beacon(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time and the head of every stream: shows an agent what was withheld from it."""

    payload_type = "application/vnd.clarion.beacon.v1+json"

    cluster: Id
    environment: Name
    time: Time
    heads: dict[StreamName, Head]


class Running(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `current` of one app points to on a host, and whether its units are up."""

    app: Name
    version: Version
    release: Count
    sha256: Sha256
    is_active: bool


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a host stands in a deployment."""

    deployment: Id
    stream: StreamName
    status: HostStatus
    stage: Stage | None = None
    reason: Sentence = ""
    error: Annotated[str, Meta(max_length=100)] = ""
    log: Annotated[str, Meta(max_length=MAX_LOG_TAIL)] = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host says of itself; shown to people, never trusted for a decision.

    `trouble` is why it refuses every order, if it does.
    """

    hostname: Annotated[str, Meta(max_length=255)] = ""
    agent_version: Annotated[str, Meta(max_length=64)] = ""
    sandbox: Annotated[str, Meta(max_length=32)] = ""
    load: float = 0.0
    cpus: Count = 0
    memory_total: Count = 0
    memory_available: Count = 0
    disk_total: Count = 0
    disk_free: Count = 0
    trouble: Sentence = ""


class Report(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a host says happened, signed with the host's own key; without `progress` a heartbeat."""

    payload_type = "application/vnd.clarion.report.v1+json"

    cluster: Id
    host: Id
    boot: Annotated[str, Meta(max_length=64)] = ""
    seq: Count
    at: Time
    facts: Facts | None = None
    running: list[Running] = []
    heads: dict[StreamName, Head] = {}
    progress: Progress | None = None


D = TypeVar("D", bound=Document)


def read(payload: bytes, kind: type[D]) -> D:
    """Return an already verified payload as a document of `kind`.

    Raises:
        BadEnvelope: not that document in canonical form.
    """
    return strict_json.decode(payload, kind, max_bytes=MAX_ENVELOPE_BYTES)


def digest_of(document: Document) -> str:
    """Return the digest that references to `document` carry."""
    return digest(strict_json.dumps(document))


def kind_of(payload_type: str) -> type[Document]:
    """Return the document class for a payload type.

    Raises:
        BadEnvelope: no document has that type.
    """
    for kind in (Deployment, Signal, Beacon, Report):
        if kind.payload_type == payload_type:
            return kind
    raise BadEnvelope(f"unknown payload type {payload_type[:100]!r}")
