"""Compute Engine instances, as Google lists them.

- All zones or nothing: an answer without one of them would look as if its servers were gone. Google is not
  asked for partial success, and an answer that says by itself that it is not whole is not believed.
- One aggregated list, or a list of each zone that is named: then Google itself says which zone there is not, and a
  zone that is down elsewhere is nobody's trouble.
- What Google filters is filtered here once more: its filter spares traffic, ours decides.
- A managed instance group is known by the metadata item "created-by", which the group sets on its instances and
  by which Google says to tell them. It comes with the same answer, and so needs no other permission and cannot
  disagree with it. Somebody could write it by hand, but who may write metadata is root on that instance anyway.
- Everything has an end: no page is asked for after `Patience.whole`, and each attempt at one has its own.
- The SDK is loaded when hosts are asked for, not before: it takes 1.5 s and 150 MB.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from sys import intern
from typing import Any

from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.gcp_errors import explain, foreseen, is_transient
from clarion_controller.discover.gcp_filter import filter_of, is_wanted
from clarion_controller.fleet_toml.fleet import Gcp
from clarion_protocol.errors import BadConfig, CloudUnavailable
from clarion_protocol.words import is_instance

PAGE = 500  # as many as Google gives
SCOPE = "https://www.googleapis.com/auth/compute.readonly"
NOTHING_HERE = "NO_RESULTS_ON_PAGE"
_GROUP = re.compile(r"projects/[^/]+/(?:zones|regions)/[^/]+/instanceGroupManagers/([^/]+)")


@dataclass(frozen=True)
class Patience:
    """How long Google is waited for, in seconds: for one attempt, to begin another at a page, to begin any."""

    attempt: float = 10
    page: float = 6
    whole: float = 30


@dataclass(frozen=True)
class GcpDiscoverer:
    """Lists the Compute Engine instances that a source of fleet.toml describes."""

    source: Gcp
    patience: Patience = Patience()

    def hosts(self) -> list[Discovered]:
        """Return the instances in the order of their ids.

        Raises:
            BadConfig: the SDK is not installed, or the source names a project, zone or label that cannot be.
            CloudRefused: the credentials are missing, wrong or expired, or lack a permission.
            CloudUnavailable: Google does not answer, not wholly or with nonsense, or asks for patience.
        """
        filter_text = filter_of(self.source)
        sdk = load_sdk()
        try:
            found = {host.instance: host for host in self._listed(sdk, filter_text) if is_wanted(host, self.source)}
        except foreseen() as error:
            raise explain(error, self.source.project) from error
        return [found[instance] for instance in sorted(found)]

    def _listed(self, sdk: Any, filter_text: str) -> Iterator[Discovered]:
        until = time.monotonic() + self.patience.whole
        client = sdk.InstancesClient(**access(self.source.endpoint, SCOPE))
        for page in self._pages(sdk, client, filter_text, self._limits(until)):
            # Without the SDK's wrappers: they make an object of each field that is looked at.
            yield from _hosts_of(type(page).pb(page))

    def _pages(self, sdk: Any, client: Any, filter_text: str, limits: dict[str, Any]) -> Iterator[Any]:
        """Return the pages that together are the answer; each is forgotten when the next one is read."""
        asked = {"project": self.source.project, "filter": filter_text or None, "max_results": PAGE}
        for zone in dict.fromkeys(self.source.zones):
            yield from client.list(sdk.ListInstancesRequest(**asked, zone=zone), **limits).pages
        if not self.source.zones:
            yield from client.aggregated_list(sdk.AggregatedListInstancesRequest(**asked), **limits).pages

    def _limits(self, until: float) -> dict[str, Callable[..., Any]]:
        """Return what makes the SDK try again, and give up; by itself it would only after ten minutes."""
        from google.api_core.retry import Retry  # noqa: PLC0415

        retry = Retry(predicate=is_transient, initial=0.5, multiplier=2, maximum=4, timeout=self.patience.page)
        return {"retry": retry, "timeout": _timeout(self.patience.attempt, until)}


def _timeout(seconds: float, until: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what the SDK wraps each attempt into: it is given `seconds`, and none is made after `until`."""

    def bound(attempt: Callable[..., Any]) -> Callable[..., Any]:
        def within(*args: Any, **kwargs: Any) -> Any:
            if time.monotonic() > until:
                raise CloudUnavailable("Google takes too long to list all instances", hint="It is asked again later.")
            return attempt(*args, **kwargs, timeout=seconds)

        return within

    return bound


def load_sdk() -> Any:
    """Return Google's SDK.

    Raises:
        BadConfig: it is not installed.
    """
    try:
        from google.cloud import compute_v1  # noqa: PLC0415
    except ImportError as error:
        raise BadConfig(
            "Google's SDK is not installed", hint="Install it where the controller runs: pip install 'clarion[gcp]'"
        ) from error
    return compute_v1


def access(endpoint: str, scope: str) -> dict[str, Any]:
    """Return how clients of the SDK reach an endpoint; over plain http with no credentials, which anybody could read.

    Raises:
        BadConfig: the endpoint is no address.
    """
    import google.auth  # noqa: PLC0415
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

    if not re.match(r"(https?://[^/]+/?)?\Z", endpoint):
        raise BadConfig(f"{endpoint!r} is no endpoint", hint='Such as endpoint = "https://compute.googleapis.com".')
    is_plain = endpoint.startswith("http://")
    credentials = AnonymousCredentials() if is_plain else google.auth.default(scopes=[scope])[0]
    return {"credentials": credentials, "client_options": {"api_endpoint": endpoint.rstrip("/")} if endpoint else {}}


def _hosts_of(page: Any) -> Iterator[Discovered]:
    """Return the hosts of one page.

    Raises:
        CloudUnavailable: it says that it is not whole, or is no page of instances.
    """
    if page.kind == "compute#instanceList":
        scopes = [("", page.items, page.warning)]
    elif page.kind == "compute#instanceAggregatedList":
        scopes = [(name, scope.instances, scope.warning) for name, scope in page.items.items()]
        _check_whole(page.warning, ", ".join(page.unreachables))
    else:
        raise _nonsense("no list of instances")
    for name, instances, warning in scopes:
        _check_whole(warning, "", name)
        yield from map(_host, instances)


def _check_whole(warning: Any, unreachable: str, scope: str = "") -> None:
    """Raise unless this part of the answer is all there is; an empty one comes with a warning that says so.

    Raises:
        CloudUnavailable: something is missing.
    """
    if unreachable or warning.code not in ("", NOTHING_HERE):
        where = unreachable or scope or "a zone"
        raise CloudUnavailable(
            f"Google's answer is not whole: {where}: {warning.code or 'unreachable'} {warning.message}".rstrip(),
            hint="Nothing is concluded from it; it is asked again later.",
        )


def _host(machine: Any) -> Discovered:
    """Return one instance; its strings that most instances share are kept once."""
    instance = f"gcp:{machine.id}"
    if not machine.id or not is_instance(instance):
        raise _nonsense("an instance without an id")
    return Discovered(
        name=machine.name,
        source="gcp",
        instance=instance,
        zone=intern(machine.zone.rpartition("/")[2]),
        state=intern(machine.status),
        groups=tuple(_groups_of(machine)),
        tags={intern(key): intern(value) for key, value in machine.labels.items()},
        addresses=tuple(_addresses_of(machine)),
    )


def _groups_of(machine: Any) -> Iterator[str]:
    for item in machine.metadata.items:
        if item.key == "created-by" and (found := _GROUP.fullmatch(item.value)):
            yield intern(found[1])


def _addresses_of(machine: Any) -> list[str]:
    """Return those inside the network, then those that the internet sees."""
    cards = machine.network_interfaces
    inside = [address for card in cards for address in (card.network_i_p, card.ipv6_address)]
    outside = [access.nat_i_p for card in cards for access in card.access_configs]
    outside += [access.external_ipv6 for card in cards for access in card.ipv6_access_configs]
    return list(dict.fromkeys(address for address in inside + outside if address))


def _nonsense(what: str) -> CloudUnavailable:
    return CloudUnavailable(
        f"what answers for Compute Engine says {what}",
        hint="A proxy in between, or the wrong endpoint in fleet.toml? It is asked again later.",
    )
