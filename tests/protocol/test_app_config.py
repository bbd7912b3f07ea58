"""clarion.toml: what it may say, and errors that lead to the line that is wrong."""

from __future__ import annotations

import pytest

from clarion_protocol.amounts import Duration
from clarion_protocol.app_config import (
    CommandLine,
    ExecCheck,
    HttpCheck,
    SystemdCheck,
    TcpCheck,
    load_app_config,
)
from clarion_protocol.errors import BadConfig

WHOLE = """\
[app]
name = "shop"
units = ["shop.service"]
keep_releases = 4
[build]
run = ["python3 -m compileall -q ."]
exclude = ["*.pyc"]
timeout = "10m"
[test]
package = ["python3 shop.py --self-test"]
unit = ["python3 -m unittest -q"]
timeout = "2m"
[drain]
wait = "2s"
[health]
min_healthy_time = "3s"
healthy_deadline = "60s"
interval = "500ms"
[[health.check]]
http = "http://127.0.0.1:8080/version"
status = 200
contains = "shop $VERSION"
[[health.check]]
tcp = "127.0.0.1:8080"
[[health.check]]
exec = "bin/check 'two words'"
[[health.check]]
systemd = "shop.service"
"""


def test_every_setting_is_read() -> None:
    """A file with every setting becomes values that need no further conversion."""
    config = load_app_config(WHOLE)
    assert (config.app.name, config.app.units, config.app.keep_releases) == ("shop", ("shop.service",), 4)
    assert config.build.run[0].argv == ["python3", "-m", "compileall", "-q", "."]
    assert [config.build.timeout, config.test.timeout, config.drain.wait] == [Duration(600), Duration(120), Duration(2)]
    assert (config.health.min_healthy_time, config.health.healthy_deadline) == (Duration(3), Duration(60))
    assert config.health.interval == Duration(0.5)
    assert config.health.checks == (
        HttpCheck("http://127.0.0.1:8080/version", 200, "shop $VERSION"),
        TcpCheck("127.0.0.1:8080"),
        ExecCheck(CommandLine("bin/check 'two words'")),
        SystemdCheck("shop.service"),
    )


def test_a_name_is_enough() -> None:
    """Everything but the name has a default."""
    config = load_app_config('[app]\nname = "shop"\n')
    assert config.app.units == ()
    assert config.health.checks == ()
    assert config.build.timeout == Duration(600)


def test_version_is_the_only_substitution() -> None:
    """$VERSION becomes the version that should run; any other dollar stays."""
    check = HttpCheck("http://127.0.0.1/", contains="$VERSION for $HOME")
    assert check.expected_text("1.2.0") == "1.2.0 for $HOME"


def test_command_is_split_without_a_shell() -> None:
    """Quotes group words; semicolons, pipes and dollars mean nothing."""
    assert CommandLine.parse("a 'b c' ; rm $X | d").argv == ["a", "b c", ";", "rm", "$X", "|", "d"]


@pytest.mark.parametrize(
    ("written", "replacement", "message"),
    [
        pytest.param(
            'timeout = "10m"',
            'timout = "10m"',
            'line 8: build.timout: unknown key\n  Did you mean "timeout"',
            id="a typo",
        ),
        pytest.param(
            "tcp =",
            "tpc =",
            'line 24: health.check.1.tpc: unknown key\n  Did you mean "tcp"',
            id="a typo in a list of tables",
        ),
        pytest.param(
            "[drain]", "[dran]", 'line 13: dran: unknown key\n  Did you mean "drain"', id="a typo in a table's name"
        ),
        pytest.param(
            '"10m"', '"10 minutes"', 'line 8: build.timeout: "10 minutes" is not a duration', id="no duration"
        ),
        pytest.param('"10m"', "600", "line 8: build.timeout: 600 is not a duration", id="a bare number"),
        pytest.param('name = "shop"', "", 'line 1: app: the key "name" is missing', id="no name"),
        pytest.param('name = "shop"', 'name = "Shop"', 'the name "Shop" must be', id="capitals in the name"),
        pytest.param('name = "shop"', 'name = "../shop"', 'the name "../shop" must be', id="a path as the name"),
        pytest.param('name = "shop"', 'name = "shop\\n"', "must be", id="a newline after the name"),
        pytest.param('name = "shop"', "name = 3", "line 2: app.name: Expected str, got int", id="a number as the name"),
        pytest.param('["shop.service"]', '["../x.service"]', "is no unit name", id="a path as the unit"),
        pytest.param('["shop.service"]', '["shop"]', "is no unit name", id="a unit without its kind"),
        pytest.param("keep_releases = 4", "keep_releases = 1", "keep_releases must be 2", id="nothing to go back to"),
        pytest.param(
            "compileall -q .", "compileall 'x", "line 6: build.run.0: .* cannot be split", id="an open quotation"
        ),
        pytest.param(
            '["*.pyc"]', '"*.pyc"', "line 7: build.exclude: Expected array, got str", id="a string for a list"
        ),
        pytest.param('["python3 -m compileall -q ."]', '[" "]', "' ' is no command", id="an empty command"),
        pytest.param("status = 200", "status = 99", "99 is no HTTP status", id="no HTTP status"),
        pytest.param(
            "http://127.0.0.1:8080/version", "file:///etc/passwd", "is no http:// or https:// URL", id="a file URL"
        ),
        pytest.param('"127.0.0.1:8080"', '"8080"', 'is not "host:port"', id="a port alone"),
        pytest.param('"127.0.0.1:8080"', '"h:99999"', 'is not "host:port"', id="no port number"),
        pytest.param('tcp = "127.0.0.1:8080"', "", "exactly one of http, tcp, exec and systemd", id="an empty check"),
        pytest.param(
            'tcp = "127.0.0.1:8080"', 'tcp = "a:1"\nsystemd = "a.service"', "exactly one of", id="two checks in one"
        ),
        pytest.param(
            'tcp = "127.0.0.1:8080"', 'tcp = "a:1"\nstatus = 201', "belong to an http check", id="a status for tcp"
        ),
        pytest.param('"60s"', '"3s"', "healthy_deadline must be longer", id="a deadline that cannot be met"),
        pytest.param('"500ms"', '"1ms"', "interval must be at least 50ms", id="a busy loop"),
        pytest.param("[drain]", "[app]", "not TOML", id="a table twice"),
        pytest.param("[drain]", "[drain", r"not TOML: .*line 13", id="broken TOML"),
    ],
)
def test_wrong_setting_is_refused_with_its_place(written: str, replacement: str, message: str) -> None:
    """Every error names the file, the line where it can be found, and the key."""
    assert written in WHOLE
    with pytest.raises(BadConfig, match=message) as caught:
        load_app_config(WHOLE.replace(written, replacement, 1), "shop/clarion.toml")
    assert caught.value.message.startswith("shop/clarion.toml")


def test_huge_file_is_refused_before_it_is_parsed() -> None:
    """A clarion.toml of a package is bounded before a parser sees it."""
    with pytest.raises(BadConfig, match="larger than 64 KiB"):
        load_app_config("#" * 65_537)


def test_depth_does_not_exhaust_the_parser() -> None:
    """Arrays nested without end are an error like any other."""
    with pytest.raises(BadConfig):
        load_app_config("x = " + "[" * 30_000)
