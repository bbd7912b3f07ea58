"""What a remote's branches and tags point to, for builds that somebody starts by hand."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from clarion_controller.builds.announcements.letter import is_ref
from clarion_controller.builds.build import COMMIT
from clarion_controller.builds.git import Bounds, Git, GitRefused
from clarion_controller.builds.git_errors import explain
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.errors import UnknownName

PATIENCE_S = 25.0  # less than whoever asks the controller waits for an answer
MAX_DISK = 2**20  # asking for names writes next to nothing
MAX_MEMORY = 512 * 2**20  # and it asks beside the controller
OWN = "ref: "  # what stands before the name of the branch that HEAD is


def look_up(repository: Repository, name: str, credential: str = "") -> tuple[str, str]:
    """Return the ref and the commit of the branch or tag `name` at the remote, or of its own branch if that is "".

    Raises:
        UnknownName: it has no such branch or tag.
        BadConfig: the remote is no git repository, or does not let us in.
        NetworkError: it does not answer in time.
    """
    refs = [name] if name.startswith("refs/") else [f"refs/heads/{name}", f"refs/tags/{name}"]
    if name and not all(map(is_ref, refs)):
        raise UnknownName(f"{name[:80]!r} is no name of a branch or tag", hint="Write for example main, or v1.2.0.")
    found = _ask(repository, [each for ref in refs for each in (ref, f"{ref}^{{}}")] if name else ["HEAD"], credential)
    for ref in refs if name else [found.get(OWN, "")]:
        commit = found.get(f"{ref}^{{}}") or found.get(ref if name else "HEAD", "")
        if is_ref(ref) and re.match(COMMIT, commit):  # a remote may say anything
            return ref, commit
    what = f"no branch or tag {name!r}" if name else "no branch of its own"
    raise UnknownName(f"{repository.url} has {what}", hint="Push it first, or name another.")


def _ask(repository: Repository, names: list[str], credential: str) -> dict[str, str]:
    """Return what the names point to at the remote, and under `OWN` its own branch."""
    with tempfile.TemporaryDirectory(prefix="clarion-look-") as folder:
        git = Git(Path(folder), Path(folder), Bounds(PATIENCE_S, MAX_DISK, MAX_MEMORY))
        git.open_with(credential, repository.url)
        try:
            said = git.run("ls-remote", "--quiet", "--symref", "--", repository.url, *names)
        except GitRefused as error:
            raise explain(str(error), repository.url, has_credential=bool(credential)) from error
    lines = [line.partition("\t") for line in said.splitlines()]
    return {OWN if said.startswith(OWN) else name: said.removeprefix(OWN) for said, _, name in lines}
