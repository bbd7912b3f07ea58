"""What a root file system is made of, and the command that makes it: Debian's release, from this machine's mirrors."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from clarion_controller.fleet_toml.roles import NspawnServer, nspawn_problems
from clarion_protocol.errors import BadConfig

_ALWAYS = ("dbus", "iproute2", "python3", "systemd", "systemd-sysv")
_SETTINGS = ("Acquire::http", "Acquire::Retries", "Acquire::Check-", "Acquire::ForceIPv")
_ROLLING = ("sid", "unstable")  # they have no updates beside them
_ASKED_S = 60


@dataclass(frozen=True)
class Recipe:
    """Servers of the same recipe share one root file system a night."""

    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Apt:
    """Where this machine gets its packages from: its release, lines of sources (site, release, component), settings."""

    release: str
    sources: tuple[tuple[str, str, str], ...]
    settings: tuple[str, ...]


def recipe_of(server: NspawnServer | None, apt: Apt) -> Recipe:
    """Return the recipe of a role's servers.

    Raises:
        BadConfig: it names something that is no release or no package.
    """
    server = server or NspawnServer()
    for problem, (setting,) in nspawn_problems(server):
        raise BadConfig(
            f"{setting}: {problem}",
            hint="In the role's nspawn, name what 'apt-cache policy NAME' knows; setup can install what else it needs.",
        )
    return Recipe(server.suite or apt.release, tuple(sorted({*_ALWAYS, *server.packages})))


def mmdebstrap(recipe: Recipe, apt: Apt, target: str) -> list[str]:
    """Return the command that makes the root file system in `target`; it reads the sources from its input."""
    settings = [f"--aptopt={line}" for line in apt.settings]
    packages = [f"--include={package}" for package in recipe.packages]
    # The lists stay: what is installed later is installed from the same state of the mirrors.
    keep = "--skip=cleanup/apt/lists"
    return ["mmdebstrap", "--variant=minbase", keep, *packages, *settings, "--", recipe.suite, target, "-"]


def sources_list(recipe: Recipe, apt: Apt) -> str:
    """Return the sources for a recipe: this machine's, for the recipe's release."""
    return "".join(sorted({f"deb {line}\n" for line in _lines(recipe.suite, apt)}))


def _lines(suite: str, apt: Apt) -> Iterator[str]:
    for site, release, component in apt.sources:
        kind = release.removeprefix(apt.release)
        if not (kind and suite in _ROLLING):
            yield f"{site} {suite}{kind} {component}"


def this_machines_apt() -> Apt:
    """Return where this machine's own apt takes its distribution's packages from.

    Raises:
        BadConfig: it has no apt, or no sources of its own release.
    """
    release = _os_release()
    listed = _ask(
        "apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages"
    )
    sources = tuple(sorted(set(_sources(listed, release))))
    if not sources:
        raise BadConfig(f"this machine's apt knows no source of {release[1]}", hint="Run 'apt-get update' as root.")
    settings = [line for line in _ask("apt-config", "dump").splitlines() if line.startswith(_SETTINGS)]
    return Apt(release[1], sources, tuple(line for line in settings if '""' not in line))


def _sources(listed: str, release: tuple[str, str]) -> Iterator[tuple[str, str, str]]:
    distribution, codename = release
    for line in listed.splitlines():
        origin, site, suite, component = line.split("|")
        ours = origin.lower().startswith(distribution) and suite.split("-")[0] == codename
        if ours and not suite.endswith(("-backports", "-proposed-updates")):
            yield site, suite, component


def _os_release() -> tuple[str, str]:
    try:
        release = platform.freedesktop_os_release()
        return release["ID"], release["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise BadConfig("this machine's release is not known", hint="Servers by nspawn need Debian here.") from error


def _ask(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_ASKED_S, check=False)
    if done.returncode != 0:
        raise BadConfig(f"{argv[0]} failed: {done.stderr.strip()[-500:]}", hint=f"Run '{argv[0]} {argv[1]}' as root.")
    return done.stdout
