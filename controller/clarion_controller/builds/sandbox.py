"""Build an app whose source nobody here has read: `clarion build` between walls, within limits, and nothing stays.

1. room     make folders on the builder's disk for all that the build writes
2. walls    start bubblewrap: a build sees this machine's programs, its source and those folders, and nobody else
3. confine  the first program inside gives up root's rights and sets the limits of a process
4. watch    pass on what is printed; end all of it at the time limit, or when it has written too much
5. take     one package and its manifest, if they are plain files of the version that was wanted
6. clean    remove the folders, whatever has been made of them

docs/explanation/builds.md says what a build can reach, and what not.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clarion_controller.builds.clean import remove_tree
from clarion_controller.builds.inside import Confinement
from clarion_controller.builds.limits import Limits
from clarion_controller.builds.output import Output
from clarion_controller.builds.take import take
from clarion_controller.builds.walls import Room, bubblewrap
from clarion_controller.builds.watch import PATIENCE, Watch, follow
from clarion_controller.durable_files import disk_trouble
from clarion_protocol.errors import BadConfig, BuildFailed

ROOM = ".clarion-sandbox-"
BUILD_USERS = ("clarion-build", "nobody")
_NAMESPACES = "Does the kernel let this user make namespaces? docs/explanation/builds.md says how it may."


@dataclass(frozen=True)
class Built:
    """A package that a sandbox gave out: its files, and what its manifest says it is."""

    package: Path
    manifest: Path
    app: str
    version: str


def build(  # noqa: PLR0913, PLR0917 (what, where to, and who watches)
    source: Path,
    out: Path,
    version: str,
    limits: Limits,
    log: Callable[[bytes], None],
    go_on: Callable[[], bool] = lambda: True,
) -> Built:
    """Build the folder `source` as `version`; the package comes to the folder `out`, on whose disk the build writes.

    `log` is given what the build prints, whole lines at a time. When `go_on` says no, the build ends.

    Raises:
        BuildFailed: a command failed or a limit was reached; the message is a sentence, then the end of the output.
        PackageError: what was built is no package of this version.
        Interrupted: `go_on` said no.
        BadConfig: bubblewrap is not installed, or the kernel does not let it work.
        NoSpace, HostError: the disk is full, or fails.
    """
    program = bubblewrap_here()
    with disk_trouble(out):
        out.mkdir(parents=True, exist_ok=True)
        with _room(out) as room:
            output = Output(log)
            watch = Watch(limits, room.folder, go_on)
            try:
                code = _run([program, *_walls(_readable(source, room), room, version, limits)], output, watch)
            except BuildFailed as error:
                raise BuildFailed(_with_output(error.message, output), hint=error.hint) from error
            _check(code, output)
            package, manifest, contents = take(room.out, out, version, limits.disk)
    return Built(package, manifest, contents.app, contents.version)


def bubblewrap_here() -> str:
    """Return where bubblewrap is.

    Raises:
        BadConfig: it is not installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        raise BadConfig("bubblewrap is not installed, which keeps builds apart", hint="Run 'apt install bubblewrap'.")
    return found


@contextmanager
def _room(out: Path) -> Iterator[Room]:
    room = Room(Path(tempfile.mkdtemp(prefix=ROOM, dir=out)))
    try:
        user = build_user()
        for folder in {folder for folder, _ in room.names()}:
            folder.mkdir(mode=0o700)
            if user:
                os.chown(folder, *user)
        _write_names(room.folder / "etc", user or (os.getuid(), os.getgid()))
        yield room
    finally:
        remove_tree(room.folder)


def _write_names(etc: Path, user: tuple[int, int]) -> None:
    """Write who there is, as programs ask for it: the build's user, under the number that it has."""
    etc.mkdir()
    uid, gid = user
    (etc / "passwd").write_text(f"build:x:{uid}:{gid}:build:/build/home:/bin/sh\n", encoding="ascii")
    (etc / "group").write_text(f"build:x:{gid}:\n", encoding="ascii")
    (etc / "hosts").write_text("127.0.0.1 localhost build\n::1 localhost\n", encoding="ascii")
    (etc / "machine-id").write_text("", encoding="ascii")


def build_user() -> tuple[int, int] | None:
    """Return user and group that builds run as when root starts them; None if it is not root, but is that user.

    Raises:
        BadConfig: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    for name in BUILD_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise BadConfig("there is no user that builds could run as", hint="Run 'adduser --system --group clarion-build'.")


def _readable(source: Path, room: Room) -> Path:
    """Return the source, or a copy where builds run as another user, who might not be allowed to read it."""
    user = build_user()
    if user is None:
        return source
    copy = room.folder / "source"
    shutil.copytree(source, copy, symlinks=True)
    for folder, _, files in os.walk(copy):
        os.chown(folder, *user)
        for name in files:
            os.chown(Path(folder) / name, *user, follow_symlinks=False)
    return copy


def _walls(source: Path, room: Room, version: str, limits: Limits) -> list[str]:
    user = build_user()
    confinement = Confinement(version, limits.memory, limits.processes, limits.disk, user)
    walls = bubblewrap(source.resolve(), room, network=limits.network == "full", as_root=user is not None)
    return [*walls, "--", *confinement.arguments()]


def _run(command: list[str], output: Output, watch: Watch) -> int:
    """Run bubblewrap; return its exit code once nothing in the sandbox is left."""
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as info:  # noqa: PTH123 (a descriptor, not a path)
        try:
            process = subprocess.Popen(
                [command[0], "--info-fd", str(write), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write,),
                env={},
            )
        finally:
            os.close(write)
        with process:
            first = _first_process(info.fileno())
            if first is None:
                output.take(_complaint(process))
                return process.wait(PATIENCE)
            try:
                return follow(process, first, output, watch)
            finally:
                os.close(first)


def _complaint(process: subprocess.Popen[bytes]) -> bytes:
    process.kill()
    return process.communicate(timeout=PATIENCE)[0][-4096:]


def _first_process(info: int) -> int | None:
    """Return a descriptor of the first process in the sandbox; None if bubblewrap could not make one."""
    said = b""
    while not said.rstrip().endswith(b"}"):
        if not select.select([info], [], [], PATIENCE)[0]:
            return None
        data = os.read(info, 4096)
        if not data:
            return None
        said += data
    try:
        return os.pidfd_open(json.loads(said)["child-pid"])
    except ProcessLookupError:
        return None


def _check(code: int, output: Output) -> None:
    if not output.has_begun:
        raise BadConfig(f"bubblewrap could not build walls: {output.tail or f'exit code {code}'}", hint=_NAMESPACES)
    if code != 0:
        raise BuildFailed(_with_output(output.complaint or "the build failed", output))


def _with_output(message: str, output: Output) -> str:
    return f"{message}:\n{output.tail}" if output.tail else message
