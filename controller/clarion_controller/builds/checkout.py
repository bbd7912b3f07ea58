"""Fetch what is to be built from a git remote: the files of one commit, and nothing of git.

1. look    ask the remote for the branch or tag
2. fetch   its newest commit alone; an older one that was announced by its number, or with the whole branch
3. check   that the commit that was announced was ever on that branch
4. out     write its files, those of its submodules too
5. strip   remove git's own folder, so that no build finds a history, a remote or a setting
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.builds.build import COMMIT, SHORT, TAGS, version_of
from clarion_controller.builds.clean import remove_tree
from clarion_controller.builds.git import Bounds, Git, GitRefused
from clarion_controller.builds.git_errors import explain
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.errors import BadConfig, BuildFailed, UnknownName

PATIENCE = 600.0
_SHORT = re.compile(r"[0-9a-f]{12}\Z")


@dataclass(frozen=True)
class Wanted:
    """What to fetch: a `commit` of a `ref` ("refs/heads/main"), the newest of a `ref`, or what has a `version`."""

    ref: str = ""
    version: str = ""
    commit: str = ""


@dataclass(frozen=True)
class Checkout:
    """The app's folder, its commit in full, and its version: the tag without "v", or the commit's first digits."""

    folder: Path
    commit: str
    version: str


def fetch(repository: Repository, wanted: Wanted, into: Path, credential: str = "") -> Checkout:
    """Fetch what is `wanted` of `repository` into the new folder `into`; `credential` opens an https remote.

    Raises:
        UnknownName: there is no such branch, tag, commit or version.
        BadConfig: the remote is no git repository, or does not let us in; or the app's folder is not in it.
        NetworkError: it does not answer, or not in time.
        BuildFailed: it is larger than the repository's builds may write.
        NoSpace: the disk is nearly full.
    """
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix=".clarion-git-", dir=into.parent) as aside:
        git = Git(into, Path(aside), Bounds(PATIENCE, repository.disk))
        git.open_with(credential, repository.url)
        try:
            git.run("init", "--quiet", "--template=")
            git.run("remote", "add", "--", "origin", repository.url)
            commit, version = _find(git, wanted)
            _write(git, commit)
        except GitRefused as error:
            raise explain(str(error), repository.url, has_credential=bool(credential)) from error
    _strip(into)
    return Checkout(_app_folder(into, repository.path), commit, version)


def _find(git: Git, wanted: Wanted) -> tuple[str, str]:
    """Fetch the commit; return it and the version that it has."""
    if wanted.version and not (wanted.ref or wanted.commit):
        return _with_version(git, wanted.version), wanted.version
    commit = _announced(git, wanted.ref, wanted.commit) if wanted.ref else _by_number(git, wanted.commit)
    return commit, wanted.version or version_of(wanted.ref, commit)


def _announced(git: Git, ref: str, commit: str) -> str:
    tips = _remote_refs(git, ref)
    if ref not in tips:
        kind, name = ("tag", ref[len(TAGS) :]) if ref.startswith(TAGS) else ("branch", ref.removeprefix("refs/heads/"))
        raise UnknownName(f"the remote has no {kind} {name!r} (any more)", hint="It was deleted since, or misspelt.")
    if not commit or commit in (tips[ref], tips.get(f"{ref}^{{}}")):
        return _fetched(git, "--depth=1", ref)
    return _by_number(git, commit, ref)


def _by_number(git: Git, commit: str, ref: str = "") -> str:
    """Fetch a commit that is at the end of no branch: alone if the remote gives it, or with the whole `ref`."""
    if not re.match(COMMIT, commit):
        raise UnknownName(f"{commit[:80]!r} is no commit", hint="Name it by all of its digits.")
    try:
        return _fetched(git, "--depth=1", commit)
    except GitRefused as error:
        if not ref:
            raise UnknownName(f"the remote does not give commit {commit[:SHORT]}", hint="Name a branch.") from error
    _fetched(git, "--force", ref)
    try:
        git.run("merge-base", "--is-ancestor", commit, "FETCH_HEAD")
        return _commit_at(git, commit)
    except GitRefused as error:
        said = f"commit {commit[:SHORT]} is not (any more) on {ref}"
        raise UnknownName(said, hint="Was the branch rewritten? Then its newest commit is built on its own.") from error


def _with_version(git: Git, version: str) -> str:
    tags = [f"{TAGS}v{version}", f"{TAGS}{version}"]
    found = _remote_refs(git, *tags)
    for tag in tags:
        if tag in found:
            return _fetched(git, "--depth=1", tag)
    if not _SHORT.match(version):
        hint = f"Push it: 'git push origin v{version}'; 'git ls-remote --tags origin' shows which there are."
        raise UnknownName(f"the remote has no tag v{version} or {version}", hint=hint)
    return _with_digits(git, version)


def _with_digits(git: Git, digits: str) -> str:
    """Fetch the commit that begins with `digits`: the end of a branch, or somewhere in the history of all."""
    for ref, commit in _remote_refs(git).items():
        if commit.startswith(digits) and not ref.endswith("^{}"):
            return _fetched(git, "--depth=1", ref)
    git.run("fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
    try:
        return _commit_at(git, digits)
    except GitRefused as error:
        raise UnknownName(f"the remote has no commit {digits}", hint="Was its branch deleted or rewritten?") from error


def _remote_refs(git: Git, *names: str) -> dict[str, str]:
    """Return what the remote's refs point to: those of these names (and what an annotated tag is of), or all."""
    wanted = [pattern for name in names for pattern in (name, f"{name}^{{}}")]
    lines = git.run("ls-remote", "--quiet", "--", "origin", *wanted).splitlines()
    listed = {ref: commit for commit, _, ref in (line.partition("\t") for line in lines)}
    return {ref: commit for ref, commit in listed.items() if not names or ref in wanted}


def _fetched(git: Git, how: str, what: str) -> str:
    git.run("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", how, "origin", what)
    return _commit_at(git, "FETCH_HEAD")


def _commit_at(git: Git, name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()


def _write(git: Git, commit: str) -> None:
    git.run("checkout", "--quiet", "--force", "--detach", commit)
    if (git.tree / ".gitmodules").is_file():
        git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", "--recommend-shallow")


def _strip(tree: Path) -> None:
    """Remove git's folder and the files by which submodules point to it."""
    todo = [tree]
    while todo:
        for path in [*todo.pop().iterdir()]:
            if path.name == ".git":
                remove_tree(path)
            elif path.is_dir() and not path.is_symlink():
                todo.append(path)


def _app_folder(tree: Path, path: str) -> Path:
    """Return the app's folder, which no link of the repository may lead out of it.

    Raises:
        BadConfig: there is none.
        BuildFailed: it is somewhere else.
    """
    folder = tree / path
    if not folder.is_dir():
        raise BadConfig(f"the repository has no folder {path!r}", hint="Correct its path in fleet.toml.")
    if not folder.resolve().is_relative_to(tree.resolve()):
        raise BuildFailed(f"the folder {path!r} is a link that leads out of the repository")
    return folder
