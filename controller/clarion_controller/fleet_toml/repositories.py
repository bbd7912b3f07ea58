"""[repository.NAME] of fleet.toml: what is built from a push, how, and who is told; and what of it cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from clarion_controller.fleet_toml.table import Secret, Table
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.words import is_name

Problems = Iterator[tuple[str, tuple[str, ...]]]

# No other way to a remote: git's "ext::" runs commands, and its options begin with a dash.
_URL = re.compile(r"(https?://|ssh://|git://|file:///|/)[^\s]+\Z|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+\Z")
_BRANCH, _TAG = "refs/heads/", "refs/tags/"


class Repository(Table, frozen=True, kw_only=True):
    """One git repository and the app that is built from the folder `path` of it.

    `branches` and `tags` are globs of what is built when it is pushed. `secret` is shared with who announces pushes;
    `forge` is how they do. `token` is for telling them what came of it, at `api`, about the repository `slug` there;
    without, nobody is told. `credential` opens an https remote. What a build may use: `network` "none" or "full",
    `memory` a process, `disk` for all it writes, `processes`, `timeout`. A green build of `auto_deploy_branch` is
    deployed to `auto_deploy`.
    """

    url: str
    app: str = ""
    path: str = "."
    branches: tuple[str, ...] = ("main", "master")
    tags: tuple[str, ...] = ("v*",)
    forge: Literal["github", "gitlab", "generic"] = "github"
    secret: Secret | None = None
    token: Secret | None = None
    api: str = ""
    slug: str = ""
    credential: Secret | None = None
    network: Literal["none", "full"] = "none"
    memory: Size = Size(4 * 2**30)
    disk: Size = Size(10 * 2**30)
    processes: int = 512
    timeout: Duration = Duration(1800)
    auto_deploy: str = ""
    auto_deploy_branch: str = "main"

    def wants(self, ref: str) -> bool:
        """Return whether a push to `ref` ("refs/heads/main", "refs/tags/v1") is built."""
        for prefix, globs in ((_BRANCH, self.branches), (_TAG, self.tags)):
            if ref.startswith(prefix):
                return any(fnmatchcase(ref[len(prefix) :], glob) for glob in globs)
        return False

    def deploys(self, ref: str) -> bool:
        """Return whether a green build of `ref` is deployed at once."""
        return bool(self.auto_deploy) and ref == f"{_BRANCH}{self.auto_deploy_branch}"


def repository_problems(repositories: Mapping[str, Repository], environments: Mapping[str, object]) -> Problems:
    """Yield a sentence for each mistake, and the key that it is about."""
    for name, repository in repositories.items():
        where = ("repository", name)
        if not is_name(name):
            yield "a name is a-z, 0-9, and . _ - inside, at most 63 characters", where
        if repository.app and not is_name(repository.app):
            yield f"{repository.app!r} cannot be an app's name", (*where, "app")
        if not _URL.match(repository.url):
            yield "name a remote: https://, ssh://, git://, file:///, user@host:path, or a folder", (*where, "url")
        if re.match(r"https?://[^/]*@", repository.url):
            yield "a password in an address can be read by all; name it as 'credential'", (*where, "url")
        if repository.path.startswith("/") or ".." in repository.path.split("/"):
            yield "name a folder inside the repository", (*where, "path")
        if repository.api and not repository.api.startswith(("https://", "http://")):
            yield f"{repository.api!r} does not begin with https:// or http://", (*where, "api")
        if repository.forge == "generic" and repository.token:
            yield "nobody is told by token unless the forge is github or gitlab", (*where, "token")
        if not 16 <= repository.processes <= 65_536:
            yield "16 to 65536", (*where, "processes")
        if repository.auto_deploy and repository.auto_deploy not in environments:
            yield f"there is no environment {repository.auto_deploy!r}", (*where, "auto_deploy")
