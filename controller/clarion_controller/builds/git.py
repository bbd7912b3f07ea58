"""Run git on what strangers may have written: no prompt, no hook, no setting of this machine, and never for ever.

Root's git is run as the user of builds, where Clarion's package has made one: what a remote says is read by no more
than that. It is that user's keys with which remotes are reached by ssh.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from clarion_controller.builds.disk_use import DiskUse, has_room
from clarion_protocol.amounts import Duration, Size
from clarion_protocol.errors import BadConfig, BuildFailed, NetworkError, NoSpace

BUILD_USER = "clarion-build"
TICK = 0.1
MAX_OUTPUT = 16 * 2**20
# What a remote and its .gitmodules may be: git itself refuses local folders ("user") to submodules.
CONFIG = """\
[core]
    hooksPath = /dev/null
    fsmonitor = false
    symlinks = true
    protectHFS = true
    protectNTFS = true
[protocol]
    allow = never
[protocol "https"]
    allow = always
[protocol "http"]
    allow = always
[protocol "ssh"]
    allow = always
[protocol "git"]
    allow = always
[protocol "file"]
    allow = user
[safe]
    directory = *
[gc]
    auto = 0
[maintenance]
    auto = false
[advice]
    detachedHead = false
[http]
    lowSpeedLimit = 100
    lowSpeedTime = 60
[submodule]
    recurse = false
"""
# Answers only what the one remote asks: a .gitmodules may name any other, and so may a redirect.
ASKPASS = """\
#!/bin/sh
case $1 in
    "$CLARION_ASKED_NAME") printf '%s\\n' "$CLARION_NAME" ;;
    "$CLARION_ASKED_PASSWORD") printf '%s\\n' "$CLARION_PASSWORD" ;;
    *) exit 1 ;;
esac
"""
# Git keeps all names that a remote lists in memory, and a remote may list names without end.
BOUNDED = ("/bin/sh", "-c", 'ulimit -d "$0" 2>/dev/null; exec "$@"')
SSH = "ssh -oBatchMode=yes -oConnectTimeout=15 -oServerAliveInterval=15 -oServerAliveCountMax=4"
ANY_NAME = "clarion"  # with a token, forges accept any


class GitRefused(Exception):
    """Git ended with an error; what it said."""


@dataclass(frozen=True)
class Bounds:
    """How long (s) and how large (bytes) a fetch may become; `memory` is of each of git's processes."""

    seconds: float
    disk: int
    memory: int = 4 * 2**30


class Git:
    """Git in the folder `tree`; what git itself needs lies in `aside`, which is removed with the rest."""

    def __init__(self, tree: Path, aside: Path, bounds: Bounds) -> None:
        self.tree = tree
        self._aside = aside
        self._bounds = bounds
        self._deadline = time.monotonic() + bounds.seconds
        self._use = DiskUse(tree)
        self._secrets: dict[str, str] = {}
        self._user = _user()
        (aside / "config").write_text(CONFIG, encoding="ascii")
        askpass = aside / "askpass"
        askpass.write_text(ASKPASS, encoding="ascii")
        askpass.chmod(0o700)
        if self._user:
            for path in (tree, aside, aside / "config", askpass):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def open_with(self, credential: str, url: str) -> None:
        """Answer `credential` ("token" or "name:password") when the remote `url`, and nobody else, asks for it."""
        parts = urlsplit(url)
        if not credential or parts.scheme not in ("http", "https"):
            return
        name, colon, password = credential.partition(":")
        name, password = (name, password) if colon else (ANY_NAME, credential)
        host = parts.netloc.rpartition("@")[2]
        asked_as = parts.username or name
        self._secrets = {
            "CLARION_ASKED_NAME": f"Username for '{parts.scheme}://{host}': ",
            "CLARION_ASKED_PASSWORD": f"Password for '{parts.scheme}://{quote(asked_as, safe='')}@{host}': ",
            "CLARION_NAME": name,
            "CLARION_PASSWORD": password,
        }

    def run(self, *arguments: str) -> str:
        """Return what git says.

        Raises:
            GitRefused: it failed; the message is git's own.
            NetworkError: it did not end in time.
            BuildFailed: it fetches more than the repository's builds may write.
            NoSpace: the disk is nearly full.
            BadConfig: git is not installed.
        """
        with tempfile.TemporaryFile(dir=self._aside) as out, tempfile.TemporaryFile(dir=self._aside) as errors:
            process = subprocess.Popen(
                [*BOUNDED, str(self._bounds.memory // 1024), _program(), *arguments],
                cwd=self.tree,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
                **_as(self._user),
            )
            with process:
                try:
                    self._wait(process, arguments[0])
                finally:
                    _kill_group(process)
            out.seek(0)
            errors.seek(max(errors.seek(0, os.SEEK_END) - 2000, 0))
            if process.returncode != 0:
                raise GitRefused(errors.read().decode("utf-8", "replace").strip())  # a remote may say any bytes
            return os.fsdecode(out.read(MAX_OUTPUT))

    def _wait(self, process: subprocess.Popen[bytes], verb: str) -> None:
        while process.poll() is None:
            if time.monotonic() > self._deadline:
                limit = Duration(self._bounds.seconds)
                raise NetworkError(f"git {verb} did not end within {limit}: the remote says nothing, or too slowly")
            if self._use.look() > self._bounds.disk:
                hint = "Raise disk of the repository in fleet.toml."
                raise BuildFailed(f"the repository is larger than {Size(self._bounds.disk)}", hint=hint)
            if not has_room(self._aside):
                raise NoSpace(f"the disk of {self.tree} is nearly full", hint=f"Run 'df -h {self.tree}'.")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK)

    def _environment(self) -> Mapping[str, str]:
        kept = ("PATH", "HOME", "SSH_AUTH_SOCK", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            **({"HOME": self._user.pw_dir} if self._user else {}),
            **self._secrets,
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._aside / "config"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": str(self._aside / "askpass"),
            "GIT_SSH_COMMAND": SSH,
            "GIT_CEILING_DIRECTORIES": str(self.tree.parent),
        }


def _user() -> pwd.struct_passwd | None:
    """Return as whom git runs, if not as who we are."""
    try:
        return pwd.getpwnam(BUILD_USER) if os.geteuid() == 0 else None
    except KeyError:
        return None


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise BadConfig("git is not installed, which fetches what is built", hint="Run 'apt install git'.")
    return found


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End git and what it has started, such as ssh, even if git itself has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
