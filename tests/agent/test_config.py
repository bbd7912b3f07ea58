"""agent.toml: its example loads, and whatever is wrong is named with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from clarion_agent.config import EXAMPLE, Config, load_config
from clarion_protocol.errors import BadConfig


def test_the_example_loads() -> None:
    """What is shipped as an example is a configuration."""
    assert load_config(EXAMPLE).units_of("shop") == ("shop.service",)


def test_the_example_shows_every_key_with_its_default(tmp_path: Path) -> None:
    """Uncommented, it changes nothing but the app."""
    text = re.sub(r"^# (\[\w+\]|\w+ = )", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    path = tmp_path / "agent.toml"
    path.write_text(text, "utf-8")

    shown = load_config(path)

    assert msgspec.structs.replace(shown, app={}) == Config()
    for key in Config.__struct_fields__:
        assert re.search(rf"^\[?{key}\b", text, re.MULTILINE), key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('state_dri = "/x"', ["line 1", "state_dri", 'Did you mean "state_dir"'], id="a typo in a key"),
        pytest.param('\nstate_dir = "x"', ["absolute"], id="a relative path"),
        pytest.param('service_manager = "upstart"', ["line 1", "service_manager"], id="an unknown service manager"),
        pytest.param('disk_reserve = "lots"', ["line 1", "disk_reserve", "size"], id="a size that is none"),
        pytest.param('poll_interval = "10ms"', ["at least 1s"], id="polling without end"),
        pytest.param('cloud = "ibm"', ["line 1", "cloud"], id="a cloud that is not known"),
        pytest.param('package_url = "ftp://relay"', ["package_url", "http://"], id="a relay that speaks FTP"),
        pytest.param('package_url = "http://relay/?a=b"', ["package_url"], id="a relay with a query"),
        pytest.param('package_url = "http://relay:x"', ["package_url"], id="a relay whose port is no number"),
        pytest.param('package_url = "http://joe:secret@relay"', ["no password"], id="a relay with a password"),
        pytest.param('package_origins = ["minio:9000"]', ["package_origins"], id="an origin without a scheme"),
        pytest.param('package_origins = ["http://m/"]', ["after host and port"], id="an origin with a path"),
        pytest.param('package_origins = ["http://m?x"]', ["after host and port"], id="an origin with a query"),
        pytest.param('package_origins = ["http://a:b@m"]', ["no password"], id="an origin with a password"),
        pytest.param('[app.shop]\nunits = ["--now"]', ["line 2", "units"], id="an option in place of a unit"),
        pytest.param('[app."../x"]\nunits = []', ["app"], id="a path in place of an app"),
        pytest.param("units = [", ["not TOML"], id="no TOML"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, text: str, says: list[str]) -> None:
    """A person finds the place without searching."""
    path = tmp_path / "agent.toml"
    path.write_text(text, "utf-8")

    with pytest.raises(BadConfig) as caught:
        load_config(path)

    for part in [str(path), *says]:
        assert part in str(caught.value)


def test_a_missing_file_names_the_example(tmp_path: Path) -> None:
    """The error shows where to copy from."""
    with pytest.raises(BadConfig, match=re.escape(str(EXAMPLE))):
        load_config(tmp_path / "agent.toml")


def test_an_app_without_a_table_may_restart_nothing() -> None:
    """What a host does not name, it does not allow."""
    assert Config().units_of("shop") == ()


def test_an_error_never_shows_a_password(tmp_path: Path) -> None:
    """Not even one that should not be there."""
    path = tmp_path / "agent.toml"
    path.write_text('package_url = "http://joe:secret@relay"', "utf-8")

    with pytest.raises(BadConfig) as caught:
        load_config(path)

    assert "secret" not in str(caught.value)
