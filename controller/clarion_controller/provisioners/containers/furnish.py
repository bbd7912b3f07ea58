"""Make a plain root file system a server that joins at its first boot: agent, configuration, setup script, token.

What runs here runs in a container without an init, as root of that container, which is nobody on this machine, with
this machine's network. Files are written from inside, too: no link that some package made there leads out.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import tomli

from clarion_controller.as_owner import open_as_owner_of
from clarion_controller.provisioners.containers.users import Users
from clarion_controller.provisioners.containers.workshop import Step, Workshop
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder
from clarion_protocol.errors import BadConfig

BROUGHT = "/run/clarion-setup"
"""Where the folder with what is brought along is found while a step runs."""

_WRITE = f"""umask 022
while [ $# -gt 0 ]; do install -D -T -m "$1" "{BROUGHT}/files$2" "$2"; shift 2; done
"""
# Packages start their services once the server has booted, never on the machine that builds it.
_POLICY = "/usr/sbin/policy-rc.d"
# Where the journal's folder exists, the journal is there after the server's end, too.
_LAST = f"rm -f {_POLICY}\nmkdir -p /var/log/journal\n"
_TOKEN = "/etc/clarion-agent/join.token"  # noqa: S105 (a path)
_MAX_AGENT = 2**30
_INSTALL = ("apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold", "install")
# A server that has none never joins, and would be waited for.
_NO_AGENT = 'it has none: name the Debian package in its role, agent = "clarion-agent.deb", or have setup install it'
_LOOK = ("sh", "-c", f"command -v clarion-agent > /dev/null || {{ echo {quote(_NO_AGENT)}; exit 1; }}")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True)
class Site:
    """A server under construction: its root as the island sees it, its number tonight, a folder for what it needs."""

    root: str
    number: int
    files: Path

    @property
    def brought(self) -> Path:
        """The folder with what is brought along."""
        return self.files / "brought"


@dataclass(frozen=True)
class _File:
    path: str
    text: str
    mode: int = 0o644


def furnish(workshop: Workshop, site: Site, order: ServerOrder, *, is_apart: bool) -> Mapping[str, float]:
    """Make it the server of this order; return seconds by part. `is_apart`: it will have no resolver.

    Raises:
        BadConfig: there is no such agent.
        ProvisionFailed: a step failed; the message says which, and ends with its words. Or no step installs an agent.
    """
    boot = order.first_boot
    _bring(workshop.users, site.brought, boot)
    _write(workshop, site, _first_files(order))
    parts = {}
    if boot.agent:
        parts["agent"] = _run(workshop, site, _agent_step(workshop, site))
    if boot.setup:
        parts["setup"] = _run(workshop, site, _setup_step(workshop, site))
    _demand_agent(workshop, site)
    _write(workshop, site, _last_files(boot, "" if is_apart else _resolver()), _LAST)
    return parts


def _bring(users: Users, folder: Path, boot: FirstBoot) -> None:
    folder.mkdir(mode=0o700)
    if boot.agent:
        try:
            _copy(boot, folder / "clarion-agent.deb")
        except OSError as error:
            raise BadConfig(
                f"the agent's package {boot.agent} cannot be read: {error.strerror}",
                hint="Name a Debian package in the role's agent; 'make deb' builds it.",
            ) from error
    script = folder / "setup"
    script.write_text(boot.setup, encoding="utf-8")
    script.chmod(0o700)
    users.own(folder)


def _copy(boot: FirstBoot, target: Path) -> None:
    with open_as_owner_of(boot.home, Path(boot.agent)) as agent, target.open("wb") as copy:
        if os.fstat(agent.fileno()).st_size > _MAX_AGENT:
            raise OSError(errno.EFBIG, "it is longer than 1 GiB")
        shutil.copyfileobj(agent, copy)


def _write(workshop: Workshop, site: Site, files: Sequence[_File], also: str = "") -> None:
    """Write files of a server that is switched off, each whole or not at all."""
    folder = site.brought / "files"
    for file in files:
        source = folder / file.path.lstrip("/")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(file.text, encoding="utf-8")
    workshop.users.own(folder)
    words = (word for file in files for word in (f"{file.mode:o}", file.path))
    argv = ("sh", "-ec", _WRITE + also, "sh", *words)
    _run(workshop, site, Step("writing its files", f"{site.number}/files", argv, workshop.limits.agent))


def _first_files(order: ServerOrder) -> Sequence[_File]:
    return (
        _File("/etc/hostname", f"{order.name}\n"),
        _File("/etc/hosts", hosts_file({order.name: "127.0.1.1"})),
        _File(_POLICY, "#!/bin/sh\nexit 101\n", 0o755),
        _File("/etc/clarion-agent/agent.toml", agent_toml(order.first_boot.agent_config)),
    )


def _last_files(boot: FirstBoot, resolver: str) -> Sequence[_File]:
    return (
        _File("/etc/resolv.conf", resolver),
        _File("/etc/machine-id", ""),
        _File(_TOKEN, f"{boot.token}\n", 0o600),
    )


def _agent_step(workshop: Workshop, site: Site) -> Step:
    argv = (*_INSTALL, f"{BROUGHT}/clarion-agent.deb")
    return Step("installing the agent", f"{site.number}/agent", argv, workshop.limits.agent)


def _setup_step(workshop: Workshop, site: Site) -> Step:
    return Step("the setup script", f"{site.number}/setup", (f"{BROUGHT}/setup",), workshop.limits.setup)


def _demand_agent(workshop: Workshop, site: Site) -> None:
    _run(workshop, site, Step("looking for its agent", f"{site.number}/look", _LOOK, workshop.limits.agent))


def _run(workshop: Workshop, site: Site, step: Step) -> float:
    """Carry out a step inside the server."""
    options = ["--quiet", "--pipe", "--as-pid2", f"--directory={site.root}", f"--machine=server{site.number}"]
    options += [
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--timezone=off",
        "--resolv-conf=replace-host",
    ]
    options += [workshop.users.option, f"--bind-ro={site.brought}:{BROUGHT}", "--setenv=DEBIAN_FRONTEND=noninteractive"]
    options += [f"--setenv={name}={os.environ[name]}" for name in _PROXIES if name in os.environ]
    workshop.demand_room()
    inside = ("systemd-nspawn", *options, "--", *step.argv)
    return workshop.carry_out(Step(step.name, step.group, inside, step.limit))


def _resolver() -> str:
    try:
        return Path("/etc/resolv.conf").read_text(encoding="utf-8")
    except OSError:
        return ""


def agent_toml(written: str) -> str:
    """Return the agent's configuration, which says that this is no cloud's server unless it says which one's.

    A container sees its machine's firmware: in a cloud it would take the machine's number for its own.
    """
    try:
        return written if "cloud" in tomli.loads(written) else f'cloud = "none"\n{written}'
    except tomli.TOMLDecodeError:
        return written  # the agent says what is wrong with it


def hosts_file(addresses: Mapping[str, str]) -> str:
    """Return an /etc/hosts with these names."""
    lines = [f"{address} {name}\n" for name, address in addresses.items()]
    return "".join(["127.0.0.1 localhost\n", "::1 localhost\n", *lines])
