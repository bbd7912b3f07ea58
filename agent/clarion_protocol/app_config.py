"""clarion.toml: what an app's own source says about how to build, test, restart and check it.

It travels in the package, so a host reads it from a release that it has verified. It may
name units, but only the host's own agent.toml decides which of them an app may restart.
"""

from __future__ import annotations

import re
import shlex

import msgspec

from clarion_protocol.amounts import Duration
from clarion_protocol.errors import BadConfig
from clarion_protocol.toml_file import read_toml

FILE_NAME = "clarion.toml"
MAX_BYTES = 64 * 1024
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z", re.ASCII)
UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(service|socket|timer|path|target)\Z", re.ASCII)


class CommandLine(str):
    """A command as it is written; no shell ever sees it."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> CommandLine:
        """Return `written` as a command.

        Raises:
            ValueError: not a string, empty, or with a quotation that never ends.
        """
        text = written if isinstance(written, str) else ""
        try:
            argv = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"{written!r:.80} cannot be split into arguments: {error}") from error
        if not argv or "\0" in text:
            raise ValueError(f"{written!r:.80} is no command")
        return cls(text)

    @property
    def argv(self) -> list[str]:
        """The program and its arguments, split like a shell would split them."""
        return shlex.split(self)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every table of clarion.toml has in common: closed and immutable."""


class App(_Table, frozen=True):
    """What the app is called, and what a host restarts and keeps of it."""

    name: str
    units: tuple[str, ...] = ()
    keep_releases: int = 5

    def __post_init__(self) -> None:
        if not NAME.match(self.name):
            raise ValueError(f'the name "{self.name[:64]}" must be a-z, 0-9, ".", "_" and "-", at most 63 characters')
        for unit in self.units:
            _check_unit(unit)
        if not 2 <= self.keep_releases <= 100:
            raise ValueError("keep_releases must be 2 (this one and the one to go back to) to 100")


class Build(_Table, frozen=True):
    """How a package is made from the source."""

    run: tuple[CommandLine, ...] = ()
    exclude: tuple[str, ...] = ()
    timeout: Duration = Duration(600)


class Test(_Table, frozen=True):
    """How an app shows that it works, the cheapest first; each stage runs where it belongs.

    `static` looks at the source, before it is built. `unit` runs where it was built. `package` runs in the unpacked
    package: when it is built, and again on every host before it switches. `timeout` is for all of one stage.
    """

    __test__ = False  # the name is the table's; it is no test of ours

    static: tuple[CommandLine, ...] = ()
    unit: tuple[CommandLine, ...] = ()
    package: tuple[CommandLine, ...] = ()
    timeout: Duration = Duration(120)


class Drain(_Table, frozen=True):
    """How long the flag `<root>/<app>/draining` stands before the restart."""

    wait: Duration = Duration(0)


class HttpCheck(_Table, frozen=True):
    """A URL answers with this status and, if given, this text; `$VERSION` stands for the version that should run."""

    http: str
    status: int = 200
    contains: str | None = None

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/\s]+(/\S*)?\Z", self.http):
            raise ValueError(f'"{self.http[:80]}" is no http:// or https:// URL')
        if not 100 <= self.status <= 599:
            raise ValueError(f"{self.status} is no HTTP status")

    def expected_text(self, version: str) -> str | None:
        """Return the text to look for when `version` is what should run."""
        return None if self.contains is None else self.contains.replace("$VERSION", version)


class TcpCheck(_Table, frozen=True):
    """A connection to `host:port` is accepted."""

    tcp: str

    def __post_init__(self) -> None:
        _, colon, port = self.tcp.rpartition(":")
        if not (colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f'"{self.tcp[:80]}" is not "host:port"')


class ExecCheck(_Table, frozen=True):
    """A command in the release exits with 0."""

    exec: CommandLine


class SystemdCheck(_Table, frozen=True):
    """A unit is active."""

    systemd: str

    def __post_init__(self) -> None:
        _check_unit(self.systemd)


Check = HttpCheck | TcpCheck | ExecCheck | SystemdCheck


class CheckTable(_Table, frozen=True):
    """One [[health.check]] as it is written: exactly one of http, tcp, exec and systemd."""

    http: str | None = None
    status: int = 200
    contains: str | None = None
    tcp: str | None = None
    exec: CommandLine | None = None
    systemd: str | None = None

    def __post_init__(self) -> None:
        kinds = [self.http, self.tcp, self.exec, self.systemd]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a check has exactly one of http, tcp, exec and systemd")
        if self.http is None and (self.contains is not None or self.status != 200):
            raise ValueError("status and contains belong to an http check")
        self.check()

    def check(self) -> Check:
        """Return the check that this table means."""
        if self.http is not None:
            return HttpCheck(self.http, self.status, self.contains)
        if self.tcp is not None:
            return TcpCheck(self.tcp)
        if self.exec is not None:
            return ExecCheck(self.exec)
        return SystemdCheck(str(self.systemd))


class Health(_Table, frozen=True):
    """When the app counts as healthy: all checks pass for `min_healthy_time`, within `healthy_deadline`."""

    min_healthy_time: Duration = Duration(3)
    healthy_deadline: Duration = Duration(60)
    interval: Duration = Duration(0.5)
    check: tuple[CheckTable, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """All checks, each as its own kind."""
        return tuple(table.check() for table in self.check)

    def __post_init__(self) -> None:
        if self.healthy_deadline <= self.min_healthy_time:
            raise ValueError("healthy_deadline must be longer than min_healthy_time")
        if self.interval < 0.05:
            raise ValueError("interval must be at least 50ms")


class AppConfig(_Table, frozen=True):
    """All of clarion.toml."""

    app: App
    build: Build = Build()
    test: Test = Test()
    drain: Drain = Drain()
    health: Health = Health()


def load_app_config(text: str, source: str = FILE_NAME) -> AppConfig:
    """Return the content `text` of the clarion.toml that lies at `source`.

    Raises:
        BadConfig: with the file, the line and the key that is wrong.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadConfig(f"{source}: larger than {MAX_BYTES // 1024} KiB")
    return read_toml(text, AppConfig, source)


def _check_unit(unit: str) -> None:
    if not UNIT.match(unit):
        raise ValueError(f'"{unit[:80]}" is no unit name such as "shop.service"')
