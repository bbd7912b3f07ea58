"""fleet.toml: what it may say, and how errors name the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.fleet_toml.fleet import load_fleet, parse_fleet
from clarion_protocol.errors import BadConfig, UnknownName
from clarion_protocol.words import Strategy

WHOLE = """
[cluster]
name = "acme"
[controller]
address = "deploy.example.net"
signal_port = 1
report_port = 2
join_port = 3
package_port = 4
bind = "::"
unreachable_after = "2m"
[environment.production]
hosts = [{ static = ["web-1", "web-2"] }, { static = ["db-1"] }]
[environment.production.strategy]
type = "all_at_once"
max_parallel = 3
max_failures = 2
max_unreachable = "10%"
auto_rollback = false
bake_time = "10s"
lease_timeout = "30s"
progress_deadline = "5m"
[environment.eu-west-1]
"""


def test_everything_that_can_be_written_is_read() -> None:
    """Durations become seconds, shares stay as written, environments keep their own names."""
    fleet = parse_fleet(WHOLE)
    production = fleet.in_environment("production")
    assert [name for source in production.hosts for name in source.static or ()] == ["web-1", "web-2", "db-1"]
    plan = production.strategy.plan()
    assert (plan.type, plan.max_parallel, plan.max_failures) == (Strategy.ALL_AT_ONCE, "3", 2)
    assert (plan.bake_time, plan.lease_timeout, plan.progress_deadline) == (10.0, 30.0, 300.0)
    assert float(fleet.controller.unreachable_after) == 120.0
    assert fleet.in_environment("eu-west-1").hosts == ()


def test_everything_has_a_default() -> None:
    """An empty file is a fleet without environments."""
    assert parse_fleet("").environment == {}


@pytest.mark.parametrize(
    ("written", "wrong", "said"),
    [
        ("max_failures", "max_failure", ["line 17", "max_failure: unknown key", 'Did you mean "max_failures"?']),
        ('max_parallel = 3', 'max_parallel = "lots"', ["line 16", "max_parallel", "is not a share"]),
        ("max_parallel = 3", "max_parallel = 0", ["line 16", "max_parallel", "at least 1"]),
        ('max_parallel = 3', 'max_parallel = "0%"', ["line 16", "max_parallel", "at least 1"]),
        ('unreachable_after = "2m"', 'unreachable_after = "30s"', ["unreachable_after", "only speak every 30 s"]),
        ('bake_time = "10s"', "bake_time = 10", ["line 20", "bake_time", "is not a duration"]),
        ('type = "all_at_once"', 'type = "canary"', ["line 15", "type", "canary"]),
        ("max_failures = 2", "max_failures = -1", ["line 17", "max_failures", "below 0"]),
        ('lease_timeout = "30s"', 'lease_timeout = "2h"', ["line 21", "lease_timeout", "5s to 1h"]),
        ("signal_port = 1", "signal_port = 70000", ["line 6", "signal_port", "no port"]),
        ("report_port = 2", "report_port = 1", ["line 7", "report_port", "already the signal_port"]),
        ("[controller]", "[contoller]", ["contoller: unknown key", 'Did you mean "controller"?']),
        ('"web-2"', '"Web 2"', ["line 13", "'Web 2' cannot be a host's name"]),
        ("{ static", "{ dynamic", ["line 13", "dynamic: unknown key"]),
        ("[environment.eu-west-1]", "[environment.EU]", ["environment.EU", "a name is a-z"]),
        ("[environment.eu-west-1]", "[environment", ["not TOML"]),
        ('hosts = [{ static = ["web-1"', 'hosts = [{ static = [1', ["line 13", "hosts"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_file_line_and_key(written: str, wrong: str, said: list[str]) -> None:
    """Each mistake is found at its line, with the nearest known key where there is one."""
    text = WHOLE.replace(written, wrong, 1)
    assert text != WHOLE
    with pytest.raises(BadConfig) as error:
        parse_fleet(text)
    assert str(error.value).startswith("fleet.toml")
    for part in said:
        assert part in str(error.value)


SOURCES = """
[store.s3]
bucket = "acme"
[store]
deliver = "proxy"
url_ttl = "10m"
[environment.production]
discover_every = "30s"
max_shrink = 2
[[environment.production.hosts]]
static = ["db-1"]
[[environment.production.hosts]]
inventory = "hosts.ini"
[[environment.production.hosts]]
[environment.production.hosts.aws]
regions = ["eu-west-1", "us-east-1"]
tags = { role = "web", stage = "prod*" }
endpoint = "https://ec2.example.net"
[[environment.production.hosts]]
gcp = { project = "acme", labels = { role = "web" } }
[[environment.production.hosts]]
azure = { subscriptions = ["9b8e"] }
"""


def test_every_source_can_be_written() -> None:
    """And each is called by what tells it from the others."""
    fleet = parse_fleet(SOURCES)
    production = fleet.in_environment("production")
    assert [source.label for source in production.hosts] == [
        "static",
        "inventory hosts.ini",
        "aws eu-west-1, us-east-1",
        "gcp acme",
        "azure 9b8e",
    ]
    assert (float(production.discover_every), production.max_shrink) == (30.0, "2")
    assert fleet.store.s3 is not None
    assert (fleet.store.deliver, float(fleet.store.url_ttl)) == ("proxy", 600.0)


@pytest.mark.parametrize(
    ("written", "wrong", "said"),
    [
        (
            'regions = ["eu-west-1", "us-east-1"]',
            "regions = []",
            "line 16: ~hosts.2.aws.regions: name at least one region",
        ),
        (
            'regions = ["eu-west-1", "us-east-1"]',
            'regions = [""]',
            "line 16: ~hosts.2.aws.regions: name at least one region",
        ),
        ('regions = ["eu-west-1", "us-east-1"]', 'region = "eu-west-1"', "line 16: ~hosts.2.aws.region: unknown key"),
        ('regions = ["eu-west-1", "us-east-1"]', "", 'line 15: ~hosts.2.aws: the key "regions" is missing'),
        ('stage = "prod*"', "stage = 1", "line 17: ~hosts.2.aws.tags.stage: Expected str, got int"),
        ('"https://ec2', '"ec2', "line 18: ~hosts.2.aws.endpoint: 'ec2.example.net' does not begin with"),
        ('project = "acme"', 'project = ""', "line 20: ~hosts.3.gcp.project: name at least one project"),
        ('project = "acme",', "", 'line 20: ~hosts.3.gcp: the key "project" is missing'),
        (
            'project = "acme",',
            'project = "acme", states = [],',
            "line 20: ~hosts.3.gcp.states: name at least one state",
        ),
        ('["9b8e"]', "[]", "line 22: ~hosts.4.azure.subscriptions: name at least one subscription"),
        ('"hosts.ini"', '""', "line 13: ~hosts.1.inventory: name the file, relative to"),
        (
            'inventory = "hosts.ini"',
            'inventory = "hosts.ini"\nstatic = ["a"]',
            "line 12: ~hosts.1: each source has exactly one of",
        ),
        ('inventory = "hosts.ini"', 'static = ["db-1"]', "line 12: ~hosts.1: the same source is there already"),
        ('inventory = "hosts.ini"', "", "line 12: ~hosts.1: each source has exactly one of"),
        ('discover_every = "30s"', 'discover_every = "1s"', "line 8: ~discover_every: clouds are asked at most"),
        ("max_shrink = 2", 'max_shrink = "120%"', 'line 9: ~max_shrink: "120%" is not a share'),
        ('bucket = "acme"', 'bucket = ""', "line 3: store.s3.bucket: cannot be empty"),
        (
            'bucket = "acme"',
            'bucket = "acme"\n[store.gcs]\nbucket = "acme"',
            "line 4: store.gcs: packages lie in one place, not in s3 and gcs",
        ),
        ('deliver = "proxy"', 'deliver = "post"', "line 5: store.deliver: 'post' is none of proxy, redirect"),
        ('url_ttl = "10m"', 'url_ttl = "8d"', "line 6: store.url_ttl: an address is signed for 1m to 7d"),
    ],
)
def test_a_source_or_store_that_cannot_be_is_named_by_its_place(written: str, wrong: str, said: str) -> None:
    """The line, and the source by its number, which counts from 0; "~" is the environment here."""
    text = SOURCES.replace(written, wrong, 1)
    assert text != SOURCES
    with pytest.raises(BadConfig) as error:
        parse_fleet(text)
    assert error.value.message.startswith(f"fleet.toml, {said.replace('~', 'environment.production.')}")


def test_an_unknown_environment_is_answered_with_near_names() -> None:
    """The error says what was probably meant."""
    with pytest.raises(UnknownName, match="Did you mean production"):
        parse_fleet(WHOLE).in_environment("prodution")


def test_a_file_that_cannot_be_read_names_itself(tmp_path: Path) -> None:
    """Missing or not text: one clear error."""
    with pytest.raises(BadConfig, match="cannot be read"):
        load_fleet(tmp_path / "fleet.toml")
    (tmp_path / "fleet.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfig, match="cannot be read"):
        load_fleet(tmp_path / "fleet.toml")
