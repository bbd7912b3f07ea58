"""What a fleet.toml says that cannot be: pure, and all that its types cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clarion_controller.fleet_toml.channels import channel_problems
from clarion_controller.fleet_toml.repositories import repository_problems
from clarion_controller.fleet_toml.roles import role_problems
from clarion_protocol.wire import HEARTBEAT_REPORT_S
from clarion_protocol.words import is_name

if TYPE_CHECKING:
    from clarion_controller.fleet_toml.fleet import Controller, Environment, Fleet, HostSource, Store, Strategy

Key = tuple[str, ...]
Problems = Iterator[tuple[str, Key]]

# Without these, or with an empty one among them, a cloud would be asked for nothing, or for everything.
_NEEDED = {
    "aws": {"regions": "region", "states": "state"},
    "gcp": {"project": "project", "states": "state"},
    "azure": {"subscriptions": "subscription", "states": "state"},
}
_LONGEST_URL_TTL = 7 * 86_400  # S3 signs for no longer


def problems_of(fleet: Fleet) -> Problems:
    """Yield a sentence for each mistake, and the key that it is about."""
    yield from _controller_problems(fleet.controller)
    yield from _store_problems(fleet.store)
    for name, environment in fleet.environment.items():
        where = ("environment", name)
        if not is_name(name):
            yield "a name is a-z, 0-9, and . _ - inside, at most 63 characters", where
        if environment.discover_every < 5:
            yield "clouds are asked at most every 5s", (*where, "discover_every")
        yield from _strategy_problems(environment.strategy, (*where, "strategy"))
        yield from _hosts_problems(environment, (*where, "hosts"))
    yield from repository_problems(fleet.repository, fleet.environment)
    yield from role_problems(fleet)
    yield from _agent_problems(fleet)
    yield from channel_problems(fleet.notify, list(fleet.environment))


def _controller_problems(controller: Controller) -> Problems:
    ports: dict[int, str] = {}
    for key in ("signal_port", "report_port", "join_port", "package_port", "hook_port"):
        port = getattr(controller, key)
        if not 1 <= port <= 65_535:
            yield f"{port} is no port (1 to 65535)", ("controller", key)
        if port in ports:
            yield f"{port} is already the {ports[port]}", ("controller", key)
        ports[port] = key
    if controller.unreachable_after <= HEARTBEAT_REPORT_S:
        yield f"hosts only speak every {HEARTBEAT_REPORT_S:.0f} s", ("controller", "unreachable_after")


def _store_problems(store: Store) -> Problems:
    named = [key for key in ("s3", "gcs", "azure") if getattr(store, key) is not None]
    if len(named) > 1:
        yield f"packages lie in one place, not in {' and '.join(named)}", ("store", named[1])
    for key in named:
        for field in ("bucket", "account", "container"):
            if getattr(getattr(store, key), field, None) == "":
                yield "cannot be empty", ("store", key, field)
    if not 60 <= store.url_ttl <= _LONGEST_URL_TTL:
        yield "an address is signed for 1m to 7d", ("store", "url_ttl")


def _strategy_problems(strategy: Strategy, where: Key) -> Problems:
    if strategy.max_failures < 0:
        yield "cannot be below 0", (*where, "max_failures")
    if not strategy.max_parallel.of(1):
        yield "must be at least 1, or nothing would ever change", (*where, "max_parallel")
    if not 5 <= strategy.lease_timeout <= 3600:
        yield "a lease lasts 5s to 1h", (*where, "lease_timeout")


def _agent_problems(fleet: Fleet) -> Problems:
    for name, role in fleet.role.items():
        if role.agent and role.provisioner != "nspawn" and not role.agent.startswith("https://"):
            yield "a server in a cloud fetches its agent from an https:// address", ("role", name, "agent")


def _hosts_problems(environment: Environment, where: Key) -> Problems:
    for place, source in enumerate(environment.hosts):
        here = (*where, str(place))
        if len(source.kinds) != 1:
            yield "each source has exactly one of static, inventory, aws, gcp and azure", here
        elif source in environment.hosts[:place]:
            yield "the same source is there already", here
        else:
            yield from _source_problems(source, (*here, source.kinds[0]))


def _source_problems(source: HostSource, where: Key) -> Problems:
    for name in source.static or ():
        if not is_name(name):
            yield f"{name!r} cannot be a host's name (a-z, 0-9, and . _ - inside)", where
    if source.inventory == "":
        yield "name the file, relative to the folder of fleet.toml", where
    cloud = source.aws or source.gcp or source.azure
    if cloud is None:
        return
    for field, noun in _NEEDED[source.kinds[0]].items():
        given = getattr(cloud, field)
        if not given or "" in tuple(given):
            yield f"name at least one {noun}", (*where, field)
    if cloud.endpoint and not cloud.endpoint.startswith(("https://", "http://")):
        yield f"{cloud.endpoint!r} does not begin with https:// or http://", (*where, "endpoint")
