"""The walls of a build's sandbox, as bubblewrap's arguments: what is not named here is not there.

=================  ===================================================================================
/usr, /opt         this machine's programs and compilers, read-only
/etc               only what programs cannot run without; users, hosts and names are made up
our own            the interpreter and the packages that run `clarion build`, where they lie, read-only
/build/source      the source, read-only; `clarion build` copies it to /tmp, and builds the copy
/build/out         where the package goes
/build/home, /tmp  empty, on the builder's disk, where they are counted; so is /dev/shm
=================  ===================================================================================

No other folder of this machine, no socket, no other process, and no network unless the limits say so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SOURCE, OUT, HOME = "/build/source", "/build/out", "/build/home"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": HOME,
    "USER": "build",
    "LOGNAME": "build",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "CI": "true",
}
_NAMESPACES = ("ipc", "pid", "net", "uts", "cgroup-try")
_ROOT_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# No password, key or address of this machine; what compilers and interpreters of Debian and Fedora look for.
_ETC = (
    "alternatives", "fonts", "gcrypt", "java-*", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
    "magic", "mime.types", "nsswitch.conf", "perl", "protocols", "python3*", "services", "ssl/openssl.cnf",
)  # fmt: skip
_ETC_OF_NETWORKS = ("resolv.conf", "ssl/certs", "pki/tls", "pki/ca-trust", "ca-certificates")
_PACKAGES = ("clarion_protocol", "clarion_agent", "clarion_controller")


@dataclass(frozen=True)
class Room:
    """The folders of one build on the builder's disk, below one that is removed as a whole."""

    folder: Path

    @property
    def out(self) -> Path:
        """Where the package appears."""
        return self.folder / "out"

    def names(self) -> Iterator[tuple[Path, str]]:
        """Yield each folder and where it is inside."""
        for name, inside in (("out", OUT), ("home", HOME), ("tmp", "/tmp"), ("tmp", "/var/tmp"), ("shm", "/dev/shm")):  # noqa: S108
            yield self.folder / name, inside


def bubblewrap(source: Path, room: Room, *, network: bool, as_root: bool) -> list[str]:
    """Return bubblewrap's arguments, up to the command; `as_root`: the command itself gives up root's rights."""
    arguments = ["--die-with-parent", "--new-session", "--hostname", "build", "--clearenv"]
    arguments += [f"--unshare-{name}" for name in _NAMESPACES if not (network and name == "net")]
    # An ordinary user needs a user namespace to build walls at all; inside, none shall be made any more.
    arguments += [] if as_root else ["--unshare-user", *(["--disable-userns"] if may_end_namespaces() else [])]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    arguments += _system(network=network)
    arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--dir", "/run"]
    arguments += _mount("--ro-bind", source, SOURCE)
    for folder, inside in room.names():
        arguments += _mount("--bind", folder, inside)
    arguments += _own()  # after /tmp: they may lie below it
    for file in sorted((room.folder / "etc").iterdir()):
        arguments += _mount("--ro-bind", file, f"/etc/{file.name}")
    return [*arguments, "--remount-ro", "/", "--chdir", HOME]


def may_end_namespaces() -> bool:
    """Return whether bubblewrap can forbid namespaces inside; in a container the kernel's settings are read-only."""
    return not os.statvfs("/proc/sys").f_flag & os.ST_RDONLY


def _mount(how: str, path: Path, inside: str | None = None) -> Iterator[str]:
    """Yield the arguments that mount `path`; the folders above it are made first, or only root could pass them."""
    inside = inside or str(path)
    for parent in [*reversed(Path(inside).parents)][1:]:
        yield from ("--dir", str(parent))
    yield from (how, str(path), inside)


def _system(*, network: bool) -> Iterator[str]:
    yield from (*_mount("--ro-bind", Path("/usr")), *_mount("--ro-bind-try", Path("/opt")))
    for name in _ROOT_LINKS:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from _mount("--ro-bind", path)
    for name in (*_ETC, *(_ETC_OF_NETWORKS if network else ())):
        for found in sorted(Path("/etc").glob(name)):
            yield from _mount("--ro-bind-try", found)


def _own() -> Iterator[str]:
    """Yield the mounts of our interpreter and packages, unless they lie where everything is mounted anyway."""
    for path in sorted(set(_own_paths())):
        if path.exists() and not path.is_relative_to("/usr") and not path.is_relative_to("/opt"):
            yield from _mount("--ro-bind", path)


def _own_paths() -> Iterator[Path]:
    for prefix in (sys.prefix, sys.base_prefix):
        yield from (Path(prefix) / name for name in ("bin", "lib", "lib64", "pyvenv.cfg"))
    for name in _PACKAGES:
        spec = find_spec(name)
        yield from map(Path, (spec.submodule_search_locations or ()) if spec else ())
