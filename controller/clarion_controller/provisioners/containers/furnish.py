"""Make a plain root file system a server that joins at its first boot: agent, configuration, setup script, token.

What runs here runs in a container without an init, as root of that container, with this machine's network. Files are
written by a shell inside, for a link that some package made there must not lead out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli

from clarion_controller.provisioners.containers.workshop import Step, Workshop
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder
from clarion_protocol.errors import BadConfig

BROUGHT = "/run/clarion-setup"
"""Where the folder with what is brought along is found while a step runs."""

_WRITE = """set -e
umask 077
mkdir -p -m 0755 "${2%/*}"
cat > "$2.new"
chmod "$1" "$2.new"
mv -T "$2.new" "$2"
"""
# Packages start their services once the server has booted, never on the machine that builds it.
_POLICY = "/usr/sbin/policy-rc.d"
_TOKEN = "/etc/clarion-agent/join.token"  # noqa: S105 (a path)
_INSTALL = ("apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold", "install")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True)
class Site:
    """A server under construction: its root as the island sees it, its number tonight, a folder for what it needs."""

    root: str
    number: int
    files: Path


def furnish(workshop: Workshop, site: Site, order: ServerOrder, *, is_apart: bool) -> Mapping[str, float]:
    """Make it the server of this order; return seconds by part. `is_apart`: it will have no resolver.

    Raises:
        BadConfig: there is no such agent.
        ProvisionFailed: a step failed; the message says which, and ends with its words.
    """
    boot = order.first_boot
    brought = _bring(site.files / "brought", boot)
    _begin(workshop, site, order)
    parts = {}
    if boot.agent:
        parts["agent"] = _run(workshop, site, _agent_step(workshop, site), brought)
    if boot.setup:
        parts["setup"] = _run(workshop, site, _setup_step(workshop, site), brought)
    _finish(workshop, site, boot, "" if is_apart else _resolver())
    return parts


def write(workshop: Workshop, site: Site, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of a server that is switched off, whole or not at all."""
    workshop.island.run("chroot", site.root, "sh", "-c", _WRITE, "sh", f"{mode:o}", path, stdin=text)


def _bring(folder: Path, boot: FirstBoot) -> Path:
    folder.mkdir(mode=0o755)
    if boot.agent:
        try:
            shutil.copyfile(boot.agent, folder / "clarion-agent.deb")
        except OSError as error:
            raise BadConfig(
                f"the agent's package {boot.agent} cannot be read: {error.strerror}",
                hint="Name a Debian package in the role's agent; 'make deb' builds it.",
            ) from error
    script = folder / "setup"
    script.write_text(boot.setup, encoding="utf-8")
    script.chmod(0o700)
    return folder


def _begin(workshop: Workshop, site: Site, order: ServerOrder) -> None:
    write(workshop, site, "/etc/hostname", f"{order.name}\n")
    write(workshop, site, "/etc/hosts", hosts_file({order.name: "127.0.1.1"}))
    write(workshop, site, _POLICY, "#!/bin/sh\nexit 101\n", 0o755)
    write(workshop, site, "/etc/clarion-agent/agent.toml", agent_toml(order.first_boot.agent_config))


def _agent_step(workshop: Workshop, site: Site) -> Step:
    argv = (*_INSTALL, f"{BROUGHT}/clarion-agent.deb")
    return Step("installing the agent", f"{site.number}/agent", argv, workshop.limits.agent)


def _setup_step(workshop: Workshop, site: Site) -> Step:
    return Step("the setup script", f"{site.number}/setup", (f"{BROUGHT}/setup",), workshop.limits.setup)


def _run(workshop: Workshop, site: Site, step: Step, brought: Path) -> float:
    """Carry out a step inside the server."""
    options = ["--quiet", "--pipe", "--as-pid2", f"--directory={site.root}", f"--machine=server{site.number}"]
    options += ["--register=no", "--keep-unit", "--link-journal=no", "--timezone=off", "--resolv-conf=replace-host"]
    options += [f"--bind-ro={brought}:{BROUGHT}", "--setenv=DEBIAN_FRONTEND=noninteractive"]
    options += [f"--setenv={name}={os.environ[name]}" for name in _PROXIES if name in os.environ]
    workshop.demand_room()
    inside = ("systemd-nspawn", *options, "--", *step.argv)
    return workshop.carry_out(Step(step.name, step.group, inside, step.limit))


def _finish(workshop: Workshop, site: Site, boot: FirstBoot, resolver: str) -> None:
    workshop.island.run("chroot", site.root, "rm", "-f", _POLICY)
    # Where this folder exists, the journal is there after the server's end, too.
    workshop.island.run("chroot", site.root, "mkdir", "-p", "/var/log/journal")
    write(workshop, site, "/etc/resolv.conf", resolver)
    write(workshop, site, "/etc/machine-id", "")
    write(workshop, site, _TOKEN, f"{boot.token}\n", 0o600)


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
