"""[[integration]] of fleet.toml as packages: what must answer between servers becomes ordinary health checks.

There is no remote shell, and none is needed: each integration is a small package of the app `clarion-integration`
whose [[health.check]]s carry the real addresses. Whoever deploys it to the hosts of its role `from` has their agents
look, and say why not. It names no unit, so it restarts nothing. The same checks and addresses give the same version.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.as_owner import open_as_owner_of
from clarion_controller.build import BuiltPackage, build
from clarion_controller.fleet_toml.fleet import Fleet
from clarion_controller.fleet_toml.roles import INTEGRATION_APP, Integration
from clarion_protocol.app_config import FILE_NAME
from clarion_protocol.errors import BadConfig

PROGRAM = "check"  # what an exec check is called in the package
MAX_PROGRAM_BYTES = 16 * 2**20
_SLUG = 40  # letters; with the digits of the hash it is a version

_HEAD = """\
# {name}: from each {from_}, on each {to}. Written by clarion from fleet.toml.
[app]
name = "{app}"
keep_releases = 2

[health]
min_healthy_time = "0s"
healthy_deadline = "{timeout}"
"""


@dataclass(frozen=True)
class Source:
    """What is in the package of an integration: its clarion.toml, and its program if it has one."""

    integration: Integration
    clarion_toml: str
    program: bytes = b""

    @property
    def version(self) -> str:
        """Its name in letters that a version may have, and the hash of all that is in it."""
        digest = hashlib.sha256(self.clarion_toml.encode() + b"\0" + self.program).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", self.integration.name.lower())[:_SLUG].strip("-")
        return f"{slug or 'check'}-{digest[:12]}"

    def build(self, out: Path) -> BuiltPackage:
        """Write the package and its manifest to the folder `out`.

        Raises:
            BadConfig: what fleet.toml says makes no health check.
            HostError: this machine has no room.
        """
        with tempfile.TemporaryDirectory(prefix="clarion-integration-") as work:
            folder = Path(work) / "source"
            folder.mkdir()
            (folder / FILE_NAME).write_text(self.clarion_toml, "utf-8")
            if self.program:
                (folder / PROGRAM).write_bytes(self.program)
                (folder / PROGRAM).chmod(0o755)
            return build(folder, out, self.version)


def applying(fleet: Fleet, environment: str) -> list[Integration]:
    """Return the integrations that are checked in an environment: it is named, or has both roles and none is named.

    Raises:
        UnknownName: there is no such environment.
    """
    roles = fleet.in_environment(environment).roles
    return [each for each in fleet.integration if _applies(each, environment, roles)]


def _applies(integration: Integration, environment: str, roles: Sequence[str]) -> bool:
    if integration.environments:
        return environment in integration.environments
    return integration.from_ in roles and integration.to in roles


def source_of(integration: Integration, addresses: Iterable[str], home: Path) -> Source:
    """Return the package's source for checks of these addresses; an exec's program is read from `home`.

    Raises:
        BadConfig: that program cannot be read.
    """
    program = _read(home, home / integration.exec) if integration.exec is not None else b""
    return Source(integration, clarion_toml(integration, addresses), program)


def clarion_toml(integration: Integration, addresses: Iterable[str]) -> str:
    """Return the clarion.toml whose health checks are those of an integration, one for each address."""
    head = _HEAD.format(
        name=_string(integration.name),
        from_=integration.from_,
        to=integration.to,
        app=INTEGRATION_APP,
        timeout=integration.timeout,
    )
    return "\n".join([head, *(_check(integration, each) for each in sorted(set(addresses)))])


def _check(integration: Integration, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    if integration.tcp is not None:
        lines = {"tcp": f"{host}:{integration.tcp}"}
    elif integration.http is not None:
        lines = {"http": f"http://{host}:{integration.http}"}
    else:
        lines = {"exec": shlex.join([f"./{PROGRAM}", address])}
    if integration.contains is not None:
        lines["contains"] = integration.contains
    written = [f"{key} = {_string(value)}" for key, value in lines.items()]
    if integration.status != 200:
        written.append(f"status = {integration.status}")
    return "\n".join(["[[health.check]]", *written, ""])


def _string(text: str) -> str:
    """Return `text` as TOML writes a string: as JSON does, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(home: Path, path: Path) -> bytes:
    try:
        with open_as_owner_of(home, path) as file:  # else fleet.toml could have a night of root's hand its secrets out
            program = file.read(MAX_PROGRAM_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"the program {path} of an integration cannot be read: {error.strerror}") from error
    if not program or len(program) > MAX_PROGRAM_BYTES:
        raise BadConfig(f"the program {path} of an integration is empty, or longer than 16 MiB")
    return program
