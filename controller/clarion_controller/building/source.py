"""Where a package's files come from: the committed files of a git work tree, or a plain folder."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clarion_protocol.amounts import Size
from clarion_protocol.errors import BadManifest, OperatorError
from clarion_protocol.manifest_rules import MAX_FILE_BYTES
from clarion_protocol.words import is_version

GIT_TIMEOUT = 120.0


@dataclass(frozen=True)
class Source:
    """The folder that is built, and the folder that packages go to, which is never part of them."""

    folder: Path
    out: Path
    is_git: bool
    allow_dirty: bool

    @classmethod
    def find(cls, folder: Path, out: Path, *, allow_dirty: bool = False) -> Source:
        """Return the source that lies in `folder`.

        Raises:
            OperatorError: it is no folder, or has changes that are not committed.
        """
        folder, out = folder.resolve(), out.resolve()
        if not folder.is_dir():
            raise OperatorError(f"{folder} is not a folder", hint="Name the folder that holds clarion.toml.")
        if out == folder:
            raise OperatorError(f"packages cannot go into their own source {folder}", hint="Name another: --out dist")
        source = cls(folder, out, _is_git(folder), allow_dirty)
        if source.is_git and not allow_dirty:
            source._refuse_changes()
        return source

    def version(self) -> str:
        """Return the version that git knows: the tag of this commit without its "v", or the commit's short hash.

        Raises:
            OperatorError: there is no git, or the tag is no version.
        """
        if not self.is_git:
            raise OperatorError(f"{self.folder} is no git work tree, so it has no version", hint="Give one: --version")
        commit = self._git("rev-parse", "--short=12", "HEAD").strip()
        if self.allow_dirty and self._changes():
            return f"{commit}-dirty"
        tag = self._git("tag", "--points-at", "HEAD", "--sort=-version:refname").partition("\n")[0]
        version = re.sub(r"\Av(?=[0-9])", "", tag) or commit
        if not is_version(version):
            raise OperatorError(f'the tag "{tag}" is no version', hint="Give one: --version")
        return version

    def copy(self, into: Path) -> None:
        """Copy the source's files to the new folder `into`, with plain modes and nothing that was not there.

        Raises:
            BadManifest: a file is neither a plain file, a folder nor a link.
            OperatorError: git has no answer.
        """
        into.mkdir()
        for path in self._paths():
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_one(self.folder / path, target, path)

    def _paths(self) -> Iterator[str]:
        return self._git_paths() if self.is_git else self._folder_paths()

    def _git_paths(self) -> Iterator[str]:
        paths = set(self._git("ls-files", "-z", "--cached", "--recurse-submodules").split("\0"))
        if self.allow_dirty:
            paths |= set(self._git("ls-files", "-z", "--others", "--exclude-standard").split("\0"))
        for path in sorted(paths - {""}):
            if not os.path.lexists(self.folder / path) or self._is_out(self.folder / path):
                continue  # deleted, but not yet committed; only with allow_dirty
            if (self.folder / path).is_dir() and not (self.folder / path).is_symlink():
                raise OperatorError(
                    f"the submodule {path} is not checked out", hint="Run: git submodule update --init --recursive"
                )
            yield path

    def _folder_paths(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.folder):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if name != ".git" and not self._is_out(here / name))
            for name in (*folders, *sorted(files)):
                yield str((here / name).relative_to(self.folder))

    def _is_out(self, path: Path) -> bool:
        return path.is_relative_to(self.out)

    def _refuse_changes(self) -> None:
        if changes := self._changes():
            listed = "\n".join(f"    {line}" for line in changes[:5])
            raise OperatorError(
                f"{self.folder} has changes that are not committed:\n{listed}",
                hint="Run: git commit -a   (or build them as they are: --allow-dirty)",
            )

    def _changes(self) -> list[str]:
        ours = ["."]
        if self.out.is_relative_to(self.folder):
            ours.append(f":(exclude){self.out.relative_to(self.folder)}")
        return self._git("status", "--porcelain", "--untracked-files=normal", "--", *ours).splitlines()

    def _git(self, *arguments: str) -> str:
        return _git(self.folder, *arguments)


def _is_git(folder: Path) -> bool:
    if shutil.which("git") is None:
        return False
    try:
        inside = _git(folder, "rev-parse", "--is-inside-work-tree").strip() == "true"
    except OperatorError as error:
        if "not a git repository" in error.message:
            return False
        raise
    # A folder that the surrounding repository ignores is no part of it.
    ignored = ["git", "-C", str(folder), "check-ignore", "-q", "."]
    return inside and subprocess.run(ignored, check=False, env=_git_environment()).returncode != 0


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        timeout=GIT_TIMEOUT,
        check=False,
        env=_git_environment(),
    )
    if done.returncode != 0:
        raise OperatorError(f"git {arguments[0]} failed in {folder}: {os.fsdecode(done.stderr).strip()[-500:]}")
    return os.fsdecode(done.stdout)


def _git_environment() -> dict[str, str]:
    """Return an environment in which git looks at the folder it is given, even when a git hook runs us."""
    others = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return kept | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}


def _copy_one(source: Path, target: Path, path: str) -> None:
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(exist_ok=True)
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
    else:
        refuse_unfit(path, status)
        shutil.copyfile(source, target, follow_symlinks=False)
        target.chmod(0o755 if status.st_mode & 0o100 else 0o644)


def refuse_unfit(path: str, status: os.stat_result) -> None:
    """Refuse what is no plain file, and plain files that are too large or have special bits.

    Raises:
        BadManifest: says what `path` is.
    """
    kinds = {
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    if kind := kinds.get(stat.S_IFMT(status.st_mode)):
        raise BadManifest(f"{path!r} is {kind}; a package holds files, folders and links", hint="Leave it out.")
    if status.st_size > MAX_FILE_BYTES:
        raise BadManifest(f"{path!r} is larger than {Size(MAX_FILE_BYTES)}", hint="Leave it out.")
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise BadManifest(f"{path!r} has the setuid or setgid bit", hint=f"Run: chmod ug-s {path}")
