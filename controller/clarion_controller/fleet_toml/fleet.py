"""fleet.toml: what this controller listens on, which environments there are, and how each is rolled out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli

from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.fleet_toml.check import problems_of
from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.fleet_toml.roles import Integration, Nightly, Role
from clarion_controller.fleet_toml.table import Table
from clarion_protocol.amounts import Duration, Share
from clarion_protocol.documents import Plan
from clarion_protocol.errors import BadConfig, UnknownName
from clarion_protocol.toml_file import line_of, read_toml
from clarion_protocol.words import Joiners
from clarion_protocol.words import Strategy as StrategyType

FILE_NAME = "fleet.toml"


class Cluster(Table, frozen=True):
    """What people call this cluster; its identity is a random id, not this name."""

    name: str = "clarion"


class Controller(Table, frozen=True):
    """Where agents find this controller, where it listens, and when it counts a host as unreachable.

    Pushes are announced at `hook_port` of `hook_bind`, which is not for the world: TLS ends in front of it.
    """

    address: str = "localhost"
    signal_port: int = 7411
    report_port: int = 7412
    join_port: int = 7413
    package_port: int = 7414
    hook_port: int = 7415
    hook_bind: str = "127.0.0.1"
    bind: str = "0.0.0.0"  # noqa: S104 (agents come from other machines; CURVE and enrolment decide who gets in)
    unreachable_after: Duration = Duration(90)


class Aws(Table, frozen=True, kw_only=True):
    """EC2 instances of one account: those with all `tags` (`*` and `?` match as EC2 says), in `regions`.

    `profile` names one in the AWS configuration files; without, the SDK's own chain of credentials is asked.
    `endpoint` is for what only speaks EC2's language.
    """

    regions: tuple[str, ...]
    tags: Mapping[str, str] = {}
    autoscaling_groups: tuple[str, ...] = ()
    states: tuple[str, ...] = ("pending", "running")
    profile: str = ""
    endpoint: str = ""


class Gcp(Table, frozen=True, kw_only=True):
    """Compute Engine instances of one project with all `labels`; empty `zones` are all of them."""

    project: str
    labels: Mapping[str, str] = {}
    zones: tuple[str, ...] = ()
    instance_groups: tuple[str, ...] = ()
    states: tuple[str, ...] = ("PROVISIONING", "STAGING", "RUNNING")
    endpoint: str = ""


class Azure(Table, frozen=True, kw_only=True):
    """Azure VMs and instances of scale sets with all `tags`, as Resource Graph lists them."""

    subscriptions: tuple[str, ...]
    tags: Mapping[str, str] = {}
    resource_groups: tuple[str, ...] = ()
    scale_sets: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    states: tuple[str, ...] = ("starting", "running")
    endpoint: str = ""


class HostSource(Table, frozen=True, kw_only=True):
    """Where an environment's hosts are listed; exactly one key. `inventory` is an Ansible inventory file."""

    static: tuple[str, ...] | None = None
    inventory: str | None = None
    aws: Aws | None = None
    gcp: Gcp | None = None
    azure: Azure | None = None

    @property
    def kinds(self) -> list[str]:
        """Which keys are given."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]

    @property
    def label(self) -> str:
        """What to call this source."""
        kind = self.kinds[0]
        if self.inventory is not None:
            return f"inventory {self.inventory}"
        places = {
            "aws": self.aws.regions if self.aws else (),
            "gcp": (self.gcp.project,) if self.gcp else (),
            "azure": self.azure.subscriptions if self.azure else (),
        }
        return " ".join([kind, ", ".join(places.get(kind, ()))]).strip()


class Strategy(Table, frozen=True):
    """How hosts take turns, unless a deployment says otherwise."""

    type: StrategyType = StrategyType.ROLLING
    max_parallel: Share = Share("25%")
    max_failures: int = 0
    max_unreachable: Share = Share("5%")
    auto_rollback: bool = True
    bake_time: Duration = Duration(0)
    lease_timeout: Duration = Duration(60)
    progress_deadline: Duration = Duration(600)
    joiners: Joiners = Joiners.NEW

    def plan(self) -> Plan:
        """Return this strategy as a deployment carries it."""
        return Plan(
            type=self.type,
            max_parallel=str(self.max_parallel),
            max_failures=self.max_failures,
            max_unreachable=str(self.max_unreachable),
            auto_rollback=self.auto_rollback,
            bake_time=float(self.bake_time),
            lease_timeout=float(self.lease_timeout),
            progress_deadline=float(self.progress_deadline),
            joiners=self.joiners,
        )


class Environment(Table, frozen=True):
    """One environment; without `hosts`, every host enrolled in it.

    Its sources are asked every `discover_every`. An answer in which more than `max_shrink` of the hosts of the one
    before are missing, or all, is not believed until somebody says that it is true. `roles` are the kinds of servers
    that a night builds anew.
    """

    hosts: tuple[HostSource, ...] = ()
    discover_every: Duration = Duration(60)
    max_shrink: Share = Share("20%")
    strategy: Strategy = Strategy()
    roles: tuple[str, ...] = ()


class S3(Table, frozen=True, kw_only=True):
    """A bucket of S3, or of what speaks its language at `endpoint`."""

    bucket: str
    region: str = ""
    prefix: str = ""
    profile: str = ""
    endpoint: str = ""


class Gcs(Table, frozen=True, kw_only=True):
    """A bucket of Google Cloud Storage."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""


class AzureBlob(Table, frozen=True, kw_only=True):
    """A container of Azure Blob Storage."""

    account: str
    container: str
    prefix: str = ""
    endpoint: str = ""


class Store(Table, frozen=True, kw_only=True):
    """Where packages lie: in the home's own folder unless one of the clouds is named.

    `deliver` says how hosts get them: "redirect" sends each to the cloud with an address that is signed for
    `url_ttl`; "proxy" passes the bytes through the controller, for hosts (and relays) without a way out.
    """

    s3: S3 | None = None
    gcs: Gcs | None = None
    azure: AzureBlob | None = None
    deliver: Literal["redirect", "proxy"] = "redirect"
    url_ttl: Duration = Duration(3600)


class Fleet(Table, frozen=True):
    """The whole file."""

    cluster: Cluster = Cluster()
    controller: Controller = Controller()
    store: Store = Store()
    environment: Mapping[str, Environment] = {}
    repository: Mapping[str, Repository] = {}
    role: Mapping[str, Role] = {}
    integration: tuple[Integration, ...] = ()
    nightly: Nightly = Nightly()
    notify: tuple[Channel, ...] = ()

    def in_environment(self, name: str) -> Environment:
        """Return the environment of that name.

        Raises:
            UnknownName: there is none.
        """
        found = self.environment.get(name)
        if found is None:
            raise unknown("environment", name, self.environment, hint=f"Add [environment.{name}] to {FILE_NAME}.")
        return found


def unknown(kind: str, name: str, known: Iterable[str], hint: str) -> UnknownName:
    """Return the error for a name that does not exist, with the names that come near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif known and len(known) <= 8:
        hint = f"Known: {', '.join(known)}. {hint}"
    return UnknownName(f"there is no {kind} {name!r}", hint=hint)


def load_fleet(path: Path) -> Fleet:
    """Return the fleet that the file describes.

    Raises:
        BadConfig: it cannot be read, or a key or value does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if not text.strip():  # some editors empty a file before they write it
            raise BadConfig(f"{path} is empty", hint="Run 'clarion validate' when it is written.")
    except PermissionError as error:
        hint = "Run this as the controller's user: 'sudo -u clarion clarion ...'."
        raise BadConfig(f"you may not read {path}", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadConfig(f"{path} cannot be read: {why}", hint="Run 'clarion init' to make a cluster.") from error
    return parse_fleet(text, str(path))


def parse_fleet(text: str, source: str = FILE_NAME) -> Fleet:
    """Return the fleet that `text`, from the file named `source`, describes.

    Raises:
        BadConfig: a key or value does not fit.
    """
    read: Any = read_toml(text, _shape(text), source)
    environments = {name: getattr(read.environment, f"_{place}") for place, name in enumerate(_environments(text))}
    others = {name: getattr(read, name) for name in Fleet.__struct_fields__ if name != "environment"}
    fleet = Fleet(environment=environments, **others)
    for problem, key in problems_of(fleet):
        line = line_of(text, key)
        raise BadConfig(f"{source}, line {line}: {'.'.join(key)}: {problem}")
    return fleet


def _shape(text: str) -> type[msgspec.Struct]:
    """Return a type with this file's own environments as fields.

    A plain mapping would do, but msgspec does not say at which of its keys a value does not fit.
    """
    names = _environments(text)
    environments = msgspec.defstruct(
        "Environments",
        [(f"_{place}", Environment) for place in range(len(names))],
        rename={f"_{place}": name for place, name in enumerate(names)},
        forbid_unknown_fields=True,
    )
    fields: list[tuple[str, type, Any]] = [
        (field.name, environments if field.name == "environment" else field.type, _default(field))
        for field in msgspec.structs.fields(Fleet)
    ]
    return msgspec.defstruct("File", fields, forbid_unknown_fields=True)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.name == "environment":
        return msgspec.field(default=None)
    if field.default is msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field(default=field.default)


def _environments(text: str) -> list[str]:
    try:
        found = tomli.loads(text).get("environment", {})
    except (tomli.TOMLDecodeError, RecursionError):
        return []
    return list(found) if isinstance(found, dict) else []
