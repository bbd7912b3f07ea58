"""agent.toml: what a server lets Clarion do. `agent.example.toml` beside this file explains every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from clarion_agent.origin import origin_of
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.documents import Name
from clarion_protocol.errors import BadConfig
from clarion_protocol.toml_file import line_of, read_toml

DEFAULT_PATH = Path("/etc/clarion-agent/agent.toml")
EXAMPLE = Path(__file__).with_name("agent.example.toml")

# Never an option: it begins with a letter or a digit.
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,239}\Z", re.ASCII)


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closed and immutable, like every table of ours."""


class AppRules(_Table, frozen=True):
    """What this host lets one app do."""

    units: tuple[str, ...] = ()


class Supervisord(_Table, frozen=True):
    """Where supervisord listens."""

    socket: str = "/run/supervisor.sock"


class Config(_Table, frozen=True):
    """All of agent.toml."""

    state_dir: str = "/var/lib/clarion-agent"
    apps_root: str = "/srv/clarion"
    service_manager: Literal["systemd", "supervisord"] = "systemd"
    supervisord: Supervisord = Supervisord()
    sandbox: Literal["auto", "systemd", "reduced"] = "auto"
    disk_reserve: Size = Size(2**30)
    poll_interval: Duration = Duration(60)
    cloud: Literal["auto", "aws", "gcp", "azure", "none"] = "auto"
    package_url: str = ""
    package_origins: tuple[str, ...] = ()
    app: dict[Name, AppRules] = {}

    def __post_init__(self) -> None:
        for path in (self.state_dir, self.apps_root, self.supervisord.socket):
            if not path.startswith("/"):
                raise ValueError(f'"{path}" must be an absolute path')
        if self.poll_interval < 1:
            raise ValueError("poll_interval must be at least 1s")
        if self.package_url:
            _check_store(self.package_url)
        for origin in self.package_origins:
            _check_origin(origin)

    @property
    def state(self) -> Path:
        """`state_dir` as a path."""
        return Path(self.state_dir)

    @property
    def trust(self) -> Path:
        """Where the package metadata and the floors are."""
        return self.state / "trust"

    @property
    def apps(self) -> Path:
        """`apps_root` as a path."""
        return Path(self.apps_root)

    def units_of(self, app: str) -> tuple[str, ...]:
        """Return the units that `app` may restart."""
        return self.app.get(app, AppRules()).units


def _check_store(url: str) -> None:
    parts = urlsplit(url)
    try:
        origin_of(url)
    except ValueError as error:
        raise ValueError(f'package_url "{parts.hostname or url[:80]}": {error}') from None
    if parts.query or parts.fragment:
        raise ValueError('package_url has no "?" and no "#"')


def _check_origin(origin: str) -> None:
    try:
        origin_of(origin)
    except ValueError as error:
        raise ValueError(f"package_origins: {error}") from None
    if origin.count("/") > 2 or "?" in origin or "#" in origin:
        raise ValueError(f'package_origins: "{origin[:80]}" must end after host and port')


def load_config(path: Path) -> Config:
    """Return the configuration in the file `path`.

    Raises:
        BadConfig: it cannot be read, or breaks a rule; names file, line and key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: {error}", hint=f"An example lies at {EXAMPLE}.") from error
    config = read_toml(text, Config, str(path))
    _check_units(config, text, path)
    return config


def _check_units(config: Config, text: str, path: Path) -> None:
    # Not in the schema: its errors cannot say which app's table it was.
    for app, rules in config.app.items():
        for unit in rules.units:
            if not _UNIT.match(unit):
                line = line_of(text, ("app", app, "units"))
                raise BadConfig(
                    f'{path}, line {line}: app.{app}.units: "{unit[:80]}" is no unit such as "shop.service"'
                )
