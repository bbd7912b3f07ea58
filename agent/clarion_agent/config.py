"""agent.toml: what a server lets Clarion do. `agent.example.toml` beside this file explains every key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

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
    app: dict[Name, AppRules] = {}

    def __post_init__(self) -> None:
        for path in (self.state_dir, self.apps_root, self.supervisord.socket):
            if not path.startswith("/"):
                raise ValueError(f'"{path}" must be an absolute path')
        if self.poll_interval < 1:
            raise ValueError("poll_interval must be at least 1s")

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
