"""What the API takes and answers; the command line reads the very same structs.

=======  ==============================================  ==================  ==================
method   path                                            body                answer
=======  ==============================================  ==================  ==================
GET      /v1/fleet                                                           FleetAnswer
GET      /v1/hosts?environment=&app=                                         list[HostAnswer]
GET      /v1/hosts/{name}?environment=                                       OneHostAnswer
GET      /v1/sources?environment=                                            list[SourceAnswer]
GET      /v1/doctor                                                          list[Finding]
DELETE   /v1/hosts/{name}?environment=                                       HostAnswer
POST     /v1/invites                                     InviteRequest       InviteAnswer
GET      /v1/invites?environment=                                            list[InvitationAnswer]
DELETE   /v1/invites/{id}?environment=
POST     /v1/plan                                        PlanRequest         PlanAnswer
POST     /v1/deployments                                 a DSSE envelope     DeploymentAnswer
GET      /v1/deployments?environment=&app=&limit=                            list[DeploymentAnswer]
GET      /v1/deployments/{id}?revision=&wait=                                DeploymentAnswer
POST     /v1/deployments/{id}/abort?actor=                                   DeploymentAnswer
POST     /v1/deployments/{id}/pause?actor=                                   DeploymentAnswer
POST     /v1/deployments/{id}/resume?actor=                                  DeploymentAnswer
GET      /v1/deployments/{id}/logs?host=                                     list[LogAnswer]
GET      /v1/status?environment=&app=                                        list[StreamAnswer]
GET      /v1/builds?repository=&limit=                                       list[Build]
GET      /v1/builds/{id}                                                     Build
GET      /v1/builds/{id}/log?offset=&wait=                                   BuildLogAnswer
GET      /v1/builder                                                         BuilderAnswer
POST     /v1/builds                                      BuildRequest        Build
POST     /v1/builds/{id}/cancel?actor=                                       Build
POST     /v1/nightly                                     Report
GET      /v1/nightly?limit=                                                  list[Report]
=======  ==============================================  ==================  ==================

`{id}` may be a unique prefix. With `revision` and `wait` (seconds, at most 30) the answer comes
as soon as the deployment's revision is beyond `revision`. Errors are `ErrorAnswer`s with
status 400 (operator's fault), 404 (unknown name), 409 (blocked). Times are UTC seconds.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from clarion_controller.host_filter import HostFilter
from clarion_protocol.documents import Deployment, Facts, Plan, Running
from clarion_protocol.words import DeploymentStatus, HostStatus, Intent


class ErrorAnswer(msgspec.Struct, frozen=True):
    """Why a call failed: the stable code, the sentence, the next command."""

    code: str
    message: str
    hint: str | None = None


class FleetAnswer(msgspec.Struct, frozen=True):
    """Who this controller is."""

    cluster: str
    name: str
    version: str
    environments: list[str]


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One host: what discovery, enrolment and its own reports say of it; `clock` is what is wrong with its clock.

    `instance` is its number in its cloud, as discovery (else as the agent that joined) says; `findings` are sentences
    about what does not fit together.
    """

    name: str
    environment: str
    id: str | None = None
    groups: list[str] = []
    source: str = ""
    instance: str = ""
    zone: str = ""
    state: str = ""
    tags: dict[str, str] = {}
    addresses: list[str] = []
    is_discovered: bool
    is_enrolled: bool
    is_connected: bool
    last_seen: float | None = None
    clock: str = ""
    facts: Facts | None = None
    running: list[Running] = []
    drift: list[str] = []
    findings: list[str] = []


class SourceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One source of an environment's hosts: how many it listed when it was last believed, and what is wrong since.

    `answered_at` is None if it never was; `offered` is the number of hosts in an answer that is not believed because
    too many of those before are missing.
    """

    environment: str
    source: str
    hosts: int
    answered_at: float | None = None
    trouble: str = ""
    hint: str = ""
    offered: int | None = None


class Health(str, Enum):
    """How one thing is that a doctor looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what, how it is, and the next command if it is not well."""

    subject: str
    health: Health
    sentence: str
    hint: str = ""


class InviteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom a join token is made. `name` binds it to one host; `count` bounds its uses; `ttl` in seconds."""

    environment: str
    name: str | None = None
    groups: list[str] = []
    count: int = 1
    ttl: float = 900.0


class InvitationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A join token that can still be used: how often, and until when; its secret is nowhere kept."""

    id: str
    environment: str
    name: str | None = None
    groups: list[str] = []
    uses_left: int
    expires: float


class InviteAnswer(msgspec.Struct, frozen=True):
    """The token, shown this once; only its hash is kept."""

    id: str
    token: str
    expires: float


class PlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator asks for. `hosts` are names (none: all); `plan` overrides fleet.toml's strategy.

    `where` narrows the hosts down by what they have in common. With `accept_shrink` a source that lists far fewer
    hosts than before is believed, and of one that does not answer the last answer counts.
    A rollback without `version` goes to the newest version that was committed before the one in force.
    """

    app: str
    environment: str
    version: str | None = None
    hosts: list[str] | None = None
    where: HostFilter = HostFilter()
    accept_shrink: bool = False
    intent: Intent = Intent.INSTALL
    plan: Plan | None = None
    reason: str = ""
    actor: str = ""


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The deployment that would be, for a deployer to check and sign; on which hosts it would act, and what it ends.

    `supersedes` is the id of the deployment that is under way there now; `findings` are sentences about sources that
    do not answer and hosts that do not fit together.
    """

    deployment: Deployment
    targets: list[str]
    without_agent: list[str] = []
    not_connected: list[str] = []
    running: dict[str, int] = {}
    supersedes: str | None = None
    findings: list[str] = []


class HostProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where one host stands in a deployment."""

    name: str
    id: str
    status: HostStatus
    reason: str = ""
    error: str = ""
    since: float = 0.0
    version: str | None = None


class DeploymentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment; `counts` by host status; `revision` rises with every change.

    `hosts` is empty where many deployments are listed.
    """

    id: str
    app: str
    environment: str
    version: str
    release: int
    intent: Intent
    seq: int
    status: DeploymentStatus
    reason: str
    revision: int
    created: float
    finished: float | None = None
    actor: str = ""
    go_back_to: str | None = None
    plan: Plan
    hosts: list[HostProgress] = []
    counts: dict[str, int] = {}


class PartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An app in force, and where one host stands with it; None if it was ordered for other hosts only."""

    app: str
    wanted: str
    part: HostProgress | None = None


class OneHostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One host, and its part in all that is in force in its environment; None if there is no host of that name."""

    host: HostAnswer | None = None
    parts: list[PartAnswer] = []


class LogAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one host reported of one step."""

    host: str
    at: float
    status: HostStatus
    stage: str | None
    reason: str
    error: str
    log: str


class StreamAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one app in one environment, and what really runs there."""

    app: str
    environment: str
    wanted: str | None
    deployment: DeploymentAnswer | None
    running: dict[str, int]
    hosts: list[HostAnswer]


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants built: the branch or tag `ref` of a repository, or its own branch."""

    repository: str
    ref: str = ""
    actor: str = ""


class BuilderAnswer(msgspec.Struct, frozen=True):
    """When a builder was last heard from (UTC seconds), since the controller was started."""

    seen: float | None


class BuildLogAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a build wrote from some offset on; `left_out` bytes before it were not kept. `next_offset` reads on."""

    text: str
    next_offset: int
    left_out: int = 0
    is_over: bool
