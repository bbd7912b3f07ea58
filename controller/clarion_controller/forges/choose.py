"""Which forge a repository of fleet.toml is told through; where its API is and what it is called there, if unsaid."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from clarion_controller.fleet_toml.repositories import Repository
from clarion_controller.forges.github import GithubForge
from clarion_controller.forges.gitlab import GitlabForge
from clarion_controller.forges.report import Forge
from clarion_protocol.errors import BadConfig

_SCP = re.compile(r"[A-Za-z0-9_.-]+@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^\s]+)\Z")


def forge_of(repository: Repository, home: Path) -> Forge:
    """Return who is told about the commits of `repository`, with its token read now.

    Raises:
        BadConfig: the token is not there or others can read it, or nothing says where the forge is.
    """
    if repository.forge == "generic" or repository.token is None:
        raise BadConfig(f"nobody is told about {repository.url}", hint="Give it a forge and a token in fleet.toml.")
    host, slug = origin_of(repository.url)
    api, slug = repository.api or api_of(repository.forge, host), repository.slug or slug
    if not api or not slug:
        raise BadConfig(
            f"{repository.url} does not say where its forge is", hint="Set api and slug in its [repository] table."
        )
    forge = GithubForge if repository.forge == "github" else GitlabForge
    return forge(api.rstrip("/"), slug, repository.token.reveal(home))


def origin_of(url: str) -> tuple[str, str]:
    """Return the host of a remote (with the port, if that is one of https) and what it calls the repository."""
    if match := _SCP.match(url):
        host, path = match["host"], match["path"]
    else:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
        if parts.scheme == "https" and parts.port:
            host = f"{host}:{parts.port}"
    return host, path.strip("/").removesuffix(".git") if host else ""


def api_of(forge: str, host: str) -> str:
    """Return where the forge at `host` has its API; "" without a host."""
    if not host:
        return ""
    if forge == "gitlab":
        return f"https://{host}/api/v4"
    return "https://api.github.com" if host == "github.com" else f"https://{host}/api/v3"
