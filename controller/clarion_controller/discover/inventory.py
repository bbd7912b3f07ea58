"""Hosts that an Ansible inventory lists, INI or YAML, as `ansible-inventory` reads it.

- Ansible is a program to us: it is started, never imported.
- An inventory lists, it runs nothing: no scripts, no plugins, and variables stay untemplated.
- Ansible sees a copy in a folder of its own, so that no group_vars beside it (which may hold secrets, or need a
  vault's password) are read. Names, groups and `ansible_host` are all that is taken from it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clarion_controller.discover.discovered import Discovered
from clarion_protocol.errors import BadConfig
from clarion_protocol.words import is_name

PROGRAM = "ansible-inventory"
TIMEOUT_S = 30.0
MAX_BYTES = 16 * 2**20

_YAML = (".yml", ".yaml", ".json")
_WARNING = re.compile(
    r"Failed to parse \S+ with (?P<plugin>ini|yaml) plugin: (?P<reason>.*?)(?= \[WARNING\]| ERROR!|$)"
)
_LINE = re.compile(r"\S+:(?P<ini>\d+): |line (?P<yaml>\d+), column \d+")
# What stands around the reason: that YAML was not JSON either, the copy's name, and the text once more.
_AROUND = re.compile(r'^We were unable .*?Syntax Error while loading YAML\. |^\S+:\d+: | in "<unicode string>".*$')
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,254}\Z")


class _Group(msgspec.Struct):
    hosts: list[str] = []
    children: list[str] = []


class _Variables(msgspec.Struct):
    ansible_host: Any = None


class _Meta(msgspec.Struct):
    hostvars: dict[str, _Variables] = {}


class _Listing(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


@dataclass(frozen=True)
class InventoryDiscoverer:
    """Reads one inventory file with the `ansible-inventory` that is installed."""

    path: Path

    def hosts(self) -> list[Discovered]:
        """Return the listed hosts by name, each with all groups that it is in.

        Raises:
            BadConfig: the file cannot be read, makes no sense or names what cannot be a host; or Ansible is missing.
        """
        content = self._content()
        listing = self._listed(content)
        try:
            groups = msgspec.json.decode(listing, type=dict[str, _Group])
            variables = msgspec.json.decode(listing, type=_Listing).meta.hostvars
        except msgspec.MsgspecError as error:
            raise BadConfig(
                f"{self.path}: what Ansible makes of it is no inventory: {error}", hint=self._try_it()
            ) from error
        return [
            Discovered(
                name=self._checked(name, content),
                source=f"inventory {self.path.name}",
                groups=within,
                addresses=_addresses(variables.get(name)),
            )
            for name, within in sorted(_groups_by_host(groups).items())
        ]

    def _content(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise BadConfig(f"{self.path} cannot be read: {error.strerror}", hint=_NAMED_IN) from error
        if len(content) > MAX_BYTES:
            raise BadConfig(f"{self.path} has more than {MAX_BYTES} bytes", hint=_NAMED_IN)
        if content.startswith(b"#!"):
            raise BadConfig(
                f"{self.path}, line 1: this is a program, and an inventory must be a list",
                hint=f"Save what it lists: '{self._command()} --yaml --output hosts.yml'.",
            )
        return content

    def _listed(self, content: bytes) -> bytes:
        """Return what Ansible says, in its JSON."""
        program = _program()
        # No hyphen in any name: Ansible breaks the lines of its messages there.
        with tempfile.TemporaryDirectory(prefix="clarion") as folder:
            copy = Path(folder, "inventory").with_suffix(self.path.suffix)
            copy.write_bytes(content)
            try:
                ended = subprocess.run(
                    [program, "-i", str(copy), "--list"],
                    cwd=folder,
                    env=_environment(Path(folder)),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise BadConfig(f"{self.path} cannot be read: {PROGRAM}: {error}", hint=self._try_it()) from error
        if ended.returncode:
            raise self._malformed(ended.stderr.decode("utf-8", "replace"))
        return ended.stdout

    def _malformed(self, complaint: str) -> BadConfig:
        said = " ".join(complaint.split())
        reasons = {match["plugin"]: match["reason"] for match in _WARNING.finditer(said)}
        reason = reasons.get("yaml" if self.path.suffix in _YAML else "ini", said)
        line = _LINE.search(reason)
        place = f", line {line['ini'] or line['yaml']}" if line else " cannot be read as an inventory"
        return BadConfig(f"{self.path}{place}: {_AROUND.sub('', reason)[:500]}", hint=self._try_it())

    def _try_it(self) -> str:
        return f"See what '{self._command()}' says to it."

    def _command(self) -> str:
        return f"{PROGRAM} -i {shlex.quote(str(self.path))} --list"

    def _checked(self, name: str, content: bytes) -> str:
        if is_name(name):
            return name
        lines = content.decode("utf-8", "replace").splitlines()
        line = next((number for number, text in enumerate(lines, start=1) if name in text), None)
        place = f"{self.path}, line {line}" if line else str(self.path)
        raise BadConfig(
            f"{place}: {name!r} cannot be a host's name (a-z, 0-9, and . _ - inside, at most 63 characters)",
            hint="Write the name that its agent joins with.",
        )


_NAMED_IN = "fleet.toml names it as an inventory."


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Return what changes whenever the file does; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _program() -> str:
    """Return the path of Ansible's program, first where this Python's own programs are.

    Raises:
        BadConfig: it is not installed.
    """
    found = shutil.which(PROGRAM, path=Path(sys.executable).parent) or shutil.which(PROGRAM)
    if found is None:
        raise BadConfig(
            f"reading an inventory takes {PROGRAM}, which is not installed",
            hint="Install it where the controller runs: pip install 'clarion[ansible]'; or list the hosts as static.",
        )
    return found


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which Ansible reads one file and nothing else."""
    config = folder / "ansible.cfg"
    config.touch()
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_INVENTORY_ENABLED": "ini,yaml",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_NOCOLOR": "1",
    }


def _groups_by_host(groups: Mapping[str, _Group]) -> dict[str, tuple[str, ...]]:
    """Return each host's groups, also those that hold them by way of other groups."""
    parents: dict[str, set[str]] = {}
    for name, group in groups.items():
        for child in group.children:
            parents.setdefault(child, set()).add(name)
    found: dict[str, set[str]] = {}
    for name, group in groups.items():
        for host in group.hosts:
            found.setdefault(host, set()).update(_with_parents(name, parents))
    return {host: tuple(sorted(within - {"all", "ungrouped"})) for host, within in found.items()}


def _with_parents(group: str, parents: Mapping[str, set[str]]) -> set[str]:
    found, new = {group}, [group]
    while new:
        above = parents.get(new.pop(), set()) - found
        found |= above
        new += above
    return found


def _addresses(variables: _Variables | None) -> tuple[str, ...]:
    """Return where the host is, unless that is a template."""
    address = variables.ansible_host if variables else None
    return (address,) if isinstance(address, str) and _ADDRESS.match(address) else ()
