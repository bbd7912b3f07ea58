"""[role.NAME], [nightly], [[integration]] of fleet.toml: what servers are made of, and what must hold between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from clarion_controller.fleet_toml.table import Table
from clarion_protocol.amounts import Duration
from clarion_protocol.words import is_name

if TYPE_CHECKING:
    from clarion_controller.fleet_toml.fleet import Fleet

Problems = Iterator[tuple[str, tuple[str, ...]]]
INTEGRATION_APP = "clarion-integration"  # what checks between servers are deployed as
# Root of this machine installs what these name: a name in its mirrors, never a file, a pattern or another source.
_SUITE = re.compile(r"[a-z][a-z0-9.-]*\Z")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9-]+)?(=[a-zA-Z0-9.+~:-]+)?\Z")
_PORT_AND_PATH = re.compile(r"[0-9]{1,5}(/[!-~]*)?\Z")


class NspawnServer(Table, frozen=True, kw_only=True):
    """A Debian server in a container of this machine, made by mmdebstrap from today's packages."""

    suite: str = ""
    packages: tuple[str, ...] = ()


class AwsServer(Table, frozen=True, kw_only=True):
    """An EC2 instance; credentials come from where `profile`, or the SDK's own chain, finds them."""

    region: str
    image: str
    instance_type: str
    subnet: str = ""
    security_groups: tuple[str, ...] = ()
    key_name: str = ""
    iam_profile: str = ""
    tags: Mapping[str, str] = {}
    profile: str = ""
    endpoint: str = ""


class GcpServer(Table, frozen=True, kw_only=True):
    """A Compute Engine instance."""

    project: str
    zone: str
    image: str
    machine_type: str
    network: str = ""
    subnetwork: str = ""
    service_account: str = ""
    labels: Mapping[str, str] = {}
    endpoint: str = ""


class AzureServer(Table, frozen=True, kw_only=True):
    """An Azure VM with one network interface in `subnet` (its resource id); `image` is an id, or a URN with colons."""

    subscription: str
    resource_group: str
    location: str
    image: str
    size: str
    subnet: str
    admin_ssh_key: str
    tags: Mapping[str, str] = {}
    endpoint: str = ""


class Role(Table, frozen=True, kw_only=True):
    """A kind of server: its groups, the apps on it (left out: all of its environment), and what it is made of.

    `agent` is the Debian package of the agent: a file, or for clouds an https:// address; left out where the image
    has it. `agent_config` is its agent.toml and `setup` a script that runs once as root before it joins, both files
    relative to the home. At most one of the four is given; without, nspawn.
    """

    groups: tuple[str, ...] = ()
    apps: tuple[str, ...] | None = None
    agent: str = ""
    agent_config: str = ""
    setup: str = ""
    nspawn: NspawnServer | None = None
    aws: AwsServer | None = None
    gcp: GcpServer | None = None
    azure: AzureServer | None = None

    def has(self, app: str) -> bool:
        """Return whether an app that is in force belongs on it."""
        return self.apps is None or app in self.apps

    @property
    def given(self) -> list[str]:
        """Which of the four are given."""
        return [name for name in ("nspawn", "aws", "gcp", "azure") if getattr(self, name) is not None]

    @property
    def provisioner(self) -> str:
        """Who makes it."""
        return (self.given or ["nspawn"])[0]


class Nightly(Table, frozen=True, kw_only=True):
    """How nightly rebuilds go: `address` is where fresh servers in a cloud find this machine.

    `deadline` is for the whole night, `server_deadline` for one server from nothing to committed; reports are kept
    for `keep`. Fresh servers in a cloud reach four ports from `port` on.
    """

    address: str = ""
    port: int = 7421
    deadline: Duration = Duration(2 * 3600)
    server_deadline: Duration = Duration(1200)
    keep: Duration = Duration(90 * 86_400)


class Integration(Table, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What must answer between servers: from each of role `from`, on each of role `to`; one of tcp, http and exec.

    `tcp` is a port, `http` a port and a path like "8080/health", `exec` a program, relative to the home, that gets
    the address as its argument. Empty `environments` are all whose roles include both.
    """

    name: str
    from_: str
    to: str
    tcp: int | None = None
    http: str | None = None
    exec: str | None = None
    status: int = 200
    contains: str | None = None
    timeout: Duration = Duration(30)
    environments: tuple[str, ...] = ()


def role_problems(fleet: Fleet) -> Problems:
    """Yield a sentence for each mistake about roles and what must hold between them, and the key that it is about."""
    for name, role in fleet.role.items():
        where = ("role", name)
        if not is_name(name):
            yield "a name is a-z, 0-9, and . _ - inside, at most 63 characters", where
        for word in (*role.groups, *(role.apps or ())):
            if not is_name(word):
                yield f"{word!r} cannot be a name", where
        yield from nspawn_problems(role.nspawn or NspawnServer(), (*where, "nspawn"))
        if len(role.given) > 1:
            yield "a server is made by one of nspawn, aws, gcp and azure", (*where, role.given[1])
    for name, environment in fleet.environment.items():
        for unknown in (each for each in environment.roles if each not in fleet.role):
            yield f"there is no role {unknown!r}", ("environment", name, "roles")
    if not 1 <= fleet.nightly.port <= 65_532:
        yield "four ports from 1 to 65535", ("nightly", "port")
    for place, integration in enumerate(fleet.integration):
        yield from _integration_problems(fleet, integration, ("integration", str(place)))


def nspawn_problems(server: NspawnServer, where: tuple[str, ...] = ()) -> Problems:
    """Yield a sentence for each name that no mirror of Debian has, and the key that it is about."""
    if server.suite and not _SUITE.match(server.suite):
        yield f"{server.suite!r} is none that a mirror of Debian has", (*where, "suite")
    for package in server.packages:
        if not _PACKAGE.match(package):
            yield f"{package!r} is none that a mirror of Debian has", (*where, "packages")


def _integration_problems(fleet: Fleet, integration: Integration, where: tuple[str, ...]) -> Problems:
    if integration.name in [each.name for each in fleet.integration[: int(where[1])]]:
        yield f"there is already a {integration.name!r}", (*where, "name")
    if integration.timeout <= 0:
        yield "nothing answers in no time", (*where, "timeout")
    if integration.exec is not None and not _is_program(integration.exec):
        yield "name a program inside the home, but not in keys, secrets or state", (*where, "exec")
    for key, name in (("from", integration.from_), ("to", integration.to)):
        if name not in fleet.role:
            yield f"there is no role {name!r}", (*where, key)
    for environment in integration.environments:
        if environment not in fleet.environment:
            yield f"there is no environment {environment!r}", (*where, "environments")
    if sum(each is not None for each in (integration.tcp, integration.http, integration.exec)) != 1:
        yield "exactly one of tcp, http and exec", where
    if integration.tcp is not None and not 1 <= integration.tcp <= 65_535:
        yield f"{integration.tcp} is no port (1 to 65535)", (*where, "tcp")
    if integration.http is not None and not _PORT_AND_PATH.match(integration.http):
        yield 'a port and a path, such as "8080/health"', (*where, "http")
    if integration.http is None and (integration.contains is not None or integration.status != 200):
        yield "status and contains belong to http", where


def _is_program(path: str) -> bool:
    """Return whether a file may be handed to hosts: what is secret must not get there by a slip."""
    parts = path.split("/")
    return parts[0] not in ("", "keys", "secrets", "state") and not {".", ".."} & set(parts)
