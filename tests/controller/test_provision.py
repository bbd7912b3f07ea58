"""A new server like an old one: what is refused, of what it is made, and how far it has come."""

from __future__ import annotations

import pytest
from tests.controller.cli.conftest import a_host

from clarion_controller.api.answers import HostAnswer, HostProgress, OneHostAnswer, PartAnswer
from clarion_controller.fleet_toml.fleet import Aws, Azure, Environment, Fleet, Gcp, HostSource
from clarion_controller.fleet_toml.roles import AwsServer, AzureServer, GcpServer, Role
from clarion_controller.provision import model_of, not_its_own, role_of, standing
from clarion_controller.provisioners.listed import refuse_unlisted
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, UnknownName
from clarion_protocol.words import HostStatus

HOSTS = [a_host("web-1", groups=["web"]), a_host("web-2", is_connected=False)]
FLEET = Fleet(role={"web": Role(groups=("web",)), "db": Role(groups=("db",)), "big-db": Role(groups=("db",))})


@pytest.mark.parametrize(
    ("name", "like", "kind", "words"),
    [
        ("web 9", "web-1", BadConfig, "cannot be a name"),
        ("web-1", "web-1", Blocked, "clarion hosts revoke web-1 -e production"),
        ("web-9", "web-11", UnknownName, "Did you mean web-1"),
        ("web-9", "web-2", Blocked, "web-2 is not connected"),
    ],
    ids=["no name", "a name that is taken", "a host that there is not", "a host that is not connected"],
)
def test_what_cannot_work_is_refused(name: str, like: str, kind: type[ClarionError], words: str) -> None:
    """Before anything costs money."""
    with pytest.raises(kind) as caught:
        model_of(name, like, "production", HOSTS)
    assert words in str(caught.value)


def test_the_model_is_the_host_of_that_name() -> None:
    """One that is there, and connected."""
    assert model_of("web-9", "web-1", "production", HOSTS) == HOSTS[0]


def test_the_role_is_the_one_with_just_the_same_groups() -> None:
    """More or fewer groups are another role; none at all means that the cloud is asked."""
    assert role_of(a_host("a", groups=["web"]), FLEET, None) == ("web", FLEET.role["web"])
    assert role_of(a_host("a", groups=["web", "eu"]), FLEET, None) is None
    assert role_of(a_host("a", groups=["web"]), FLEET, "db") == ("db", FLEET.role["db"])


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [(None, BadConfig, "Add --role big-db or --role db."), ("bd", UnknownName, "Did you mean db")],
    ids=["several have the groups", "there is none of that name"],
)
def test_a_role_that_is_not_clear_is_asked_for(wanted: str | None, kind: type[ClarionError], words: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(kind) as caught:
        role_of(a_host("a", groups=["db"]), FLEET, wanted)
    assert words in str(caught.value)


AWS = Role(aws=AwsServer(region="eu-west-1", image="x", instance_type="x", tags={"role": "web-1"}))
GCP = Role(gcp=GcpServer(project="acme", zone="europe-west1-b", image="x", machine_type="x", labels={"role": "web"}))
AZURE = Role(
    azure=AzureServer(
        subscription="AB",
        resource_group="Prod",
        location="westeurope",
        image="x",
        size="x",
        subnet="x",
        admin_ssh_key="x",
        tags={"role": "web"},
    )
)
LISTED: dict[str, tuple[Role, HostSource, str]] = {
    "aws": (AWS, HostSource(aws=Aws(regions=("eu-west-1",), tags={"role": "web-?"})), ""),
    "aws, another region": (AWS, HostSource(aws=Aws(regions=("us-east-1",))), "does not look into eu-west-1"),
    "aws, a tag": (AWS, HostSource(aws=Aws(regions=("eu-west-1",), tags={"role": "db"})), "looks for role = db"),
    "aws, a group": (AWS, HostSource(aws=Aws(regions=("eu-west-1",), autoscaling_groups=("w",))), "scaling group"),
    "gcp": (GCP, HostSource(gcp=Gcp(project="acme", labels={"role": "web"})), ""),
    "gcp, a zone": (GCP, HostSource(gcp=Gcp(project="acme", zones=("us-east1-b",))), "into europe-west1-b of acme"),
    "gcp, a label": (GCP, HostSource(gcp=Gcp(project="acme", labels={"env": "x"})), "looks for env = x"),
    "gcp, a group": (GCP, HostSource(gcp=Gcp(project="acme", instance_groups=("w",))), "instance group"),
    "azure": (AZURE, HostSource(azure=Azure(subscriptions=("ab",), resource_groups=("prod",))), ""),
    "azure, a group": (AZURE, HostSource(azure=Azure(subscriptions=("ab",), resource_groups=("x",))), "into Prod"),
    "azure, a tag": (AZURE, HostSource(azure=Azure(subscriptions=("ab",), tags={"role": "db"})), "looks for role = db"),
    "azure, a set": (AZURE, HostSource(azure=Azure(subscriptions=("ab",), scale_sets=("w",))), "scale set"),
    "another cloud": (GCP, HostSource(aws=Aws(regions=("eu-west-1",))), "the aws source lists nothing else"),
    "named": (AWS, HostSource(static=("web-9",)), ""),
    "not named": (AWS, HostSource(static=("web-1",)), "the static list does not name it"),
    "an inventory, which may change": (AWS, HostSource(inventory="hosts"), ""),
}


@pytest.mark.parametrize(("role", "source", "reason"), LISTED.values(), ids=LISTED.keys())
def test_a_server_that_no_source_would_list_is_refused(role: Role, source: HostSource, reason: str) -> None:
    """It would join, and be given nothing."""
    environment = Environment(hosts=(source,))
    if not reason:
        return refuse_unlisted("web-9", role, environment)
    with pytest.raises(BadConfig, match=reason):
        refuse_unlisted("web-9", role, environment)
    refuse_unlisted("web-9", role, Environment(hosts=(source, HostSource(static=("web-9",)))))
    return None


def test_where_every_agent_counts_every_server_is_listed() -> None:
    """An environment without sources is made of whoever has joined."""
    refuse_unlisted("web-9", AWS, Environment())


def part(status: HostStatus, name: str = "web-9") -> HostProgress:
    """Return where a host stands."""
    return HostProgress(name=name, id="9" * 32, status=status)


def seen(host: HostAnswer | None, **parts: HostProgress | None) -> OneHostAnswer:
    """Return what the controller says of web-9, with version 1.0.0 of each app in force."""
    return OneHostAnswer(
        host=host, parts=[PartAnswer(app=app, wanted="1.0.0", part=each) for app, each in parts.items()]
    )


STANDING: dict[str, tuple[OneHostAnswer, str, bool, bool]] = {
    "nobody": (seen(None), "has not joined yet", False, False),
    "listed only": (seen(a_host("web-9", is_enrolled=False, id=None)), "has not joined yet", False, False),
    "silent": (seen(a_host("web-9", is_connected=False)), "is not connected yet", True, False),
    "not listed": (seen(a_host("web-9", is_discovered=False)), "does not list it yet", True, False),
    "nothing in force": (seen(a_host("web-9")), "runs what is in force", True, True),
    "on its way": (seen(a_host("web-9"), shop=part(HostStatus.TESTING)), "shop testing", True, False),
    "committed": (seen(a_host("web-9"), shop=part(HostStatus.COMMITTED)), "runs what is in force", True, True),
    "failed": (seen(a_host("web-9"), shop=part(HostStatus.FAILED)), "shop failed", True, True),
    "for others only": (seen(a_host("web-9"), shop=None), "runs what is in force", True, True),
}


@pytest.mark.parametrize(("what", "sentence", "has_joined", "is_done"), STANDING.values(), ids=STANDING.keys())
def test_how_far_it_has_come_is_one_sentence(
    what: OneHostAnswer, sentence: str, has_joined: bool, is_done: bool
) -> None:
    """From the boot to the commit of everything that is meant for it."""
    found = standing(what)
    assert sentence in found.sentence
    assert (found.has_joined, found.is_done) == (has_joined, is_done)
    assert found.broken == (("shop",) if sentence == "shop failed" else ())


@pytest.mark.parametrize(
    ("role", "expected"),
    [(Role(), ["api", "cron"]), (Role(apps=("shop", "api")), ["api"]), (Role(apps=()), [])],
    ids=["a role of all apps", "a role of some", "a role of none"],
)
def test_what_was_ordered_for_named_hosts_only_is_told(role: Role, expected: list[str]) -> None:
    """Of the apps that belong on its role, and are in force without it."""
    what = seen(a_host("web-9"), shop=part(HostStatus.COMMITTED), api=None, cron=None)
    assert [each.app for each in not_its_own(role, what)] == expected
