"""fleet.toml: what it may say, and how errors name the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from clarion_controller.fleet import load_fleet, parse_fleet
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
