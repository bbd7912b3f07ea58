"""Runs the command lines of a job, one after another, without a shell; the process inside a sandbox.

`python -I -m clarion_agent.sandbox.job job.json`, or `-` to read the job from the input.
It runs inside the sandbox, so it uses nothing but the standard library and trusts nobody.
The exit code is that of the first command that failed (128 + n if signal n ended it).

It starts for every exec check on every host. So it is also a script that needs no
site-packages, and does without subprocess, pathlib and typing: they cost more than all it does.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import sys

NOT_FOUND = 127
LIMITS = {
    resource.RLIMIT_AS: 4 * 2**30,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 256 * 2**20,
    resource.RLIMIT_NOFILE: 1024,
}
PROCESSES = 256
_NO_INPUT = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
# Python ignores these for itself; ignored, they would stay so in every command.
_IGNORED_HERE = (signal.SIGPIPE, signal.SIGXFSZ)


def main(arguments: list[str]) -> int:
    """Run the job in the file that `arguments` name."""
    job = json.loads(read(arguments[0]))
    if job.get("limit"):
        limit_self(job.get("user"))
    for command in job["commands"]:
        say(f"$ {shlex.join(command)}")
        code = run(command)
        if code != 0:
            say(f"exit code {code}")
            return code
    return 0


def read(source: str) -> str:
    """Return what the file `source` holds, or what comes in if it is `-`."""
    if source == "-":
        return sys.stdin.read()
    with open(source, encoding="utf-8") as file:  # noqa: PTH123 (pathlib is slow to import)
        return file.read()


def run(command: list[str]) -> int:
    """Run one command in the current folder."""
    try:
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=[_NO_INPUT], setsigdef=_IGNORED_HERE)
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return NOT_FOUND
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return 128 - code if code < 0 else code


def say(line: str) -> None:
    """Write a line at once, so that it stands before what the next command prints."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def limit_self(user: int | None) -> None:
    """Set limits that hold without cgroups, and become the user with this number if one is given, for good."""
    for which, most in LIMITS.items():
        resource.setrlimit(which, (most, most))
    if user is None:
        return
    # Processes are counted per user, so a limit makes sense only for one that has no others.
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
