"""Runs the command lines of a job, one after another, without a shell; the process inside a sandbox.

`python -I -m clarion_agent.sandbox.job FILE`, or `-` to read the job from the input.
It runs inside the sandbox, so it uses nothing but the standard library and trusts nobody.
The exit code is that of the first command that failed (128 + n if signal n ended it).

It starts for every exec check on every host. So it is also a script that needs no
site-packages, and does without json, shlex, signal, subprocess, pathlib and typing: each
loads more (`re`, `enum`) than all it does. Hence a job is fields with NUL between them: the
user's number, `SELF` or nothing, and for each command the count of its words, then these.
"""

from __future__ import annotations

import os
import resource
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
# All that are not of real time: Python ignores some for itself; ignored, they would stay so in every command.
_SIGNALS = range(1, 32)
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-")
SELF = "self"


def main(arguments: list[str]) -> int:
    """Run the job in the file that `arguments` name."""
    user, commands = read_job(read(arguments[0]))
    if user:
        limit_self(None if user == SELF else int(user))
    for command in commands:
        say(f"$ {' '.join(map(quoted, command))}")
        code = run(command)
        if code != 0:
            say(f"exit code {code}")
            return code
    return 0


def write_job(commands: tuple[tuple[str, ...], ...], user: str = "") -> bytes:
    """Return the job of these `commands`; with a `user` (a number, or `SELF`) it sets itself limits first."""
    words = [word for command in commands for word in (str(len(command)), *command)]
    return "\0".join([user, *words]).encode()


def read_job(raw: bytes) -> tuple[str, list[list[str]]]:
    """Return the user and the commands of a job."""
    user, *words = raw.decode().split("\0")
    commands = []
    while words:
        end = 1 + int(words[0])
        commands.append(words[1:end])
        del words[:end]
    return user, commands


def read(source: str) -> bytes:
    """Return what the file `source` holds, or what comes in if it is `-`."""
    with open(0 if source == "-" else source, "rb") as file:  # noqa: PTH123 (pathlib is slow to import)
        return file.read()


def quoted(word: str) -> str:
    """Return `word` as a shell would read it, as `shlex.quote` does."""
    return word if word and _PLAIN.issuperset(word) else "'" + word.replace("'", "'\"'\"'") + "'"


def run(command: list[str]) -> int:
    """Run one command in the current folder."""
    try:
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=[_NO_INPUT], setsigdef=_SIGNALS)
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
