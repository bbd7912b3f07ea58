"""Runs the command lines of a job, one after another, without a shell; the process inside a sandbox.

`python -I -m clarion_agent.sandbox.job job.json`, or `-` to read the job from the input.
It runs inside the sandbox, so it uses nothing but the standard library and trusts nobody.
The exit code is that of the first command that failed (128 + n if signal n ended it).
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

NOT_FOUND = 127
LIMITS = {
    resource.RLIMIT_AS: 4 * 2**30,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 256 * 2**20,
    resource.RLIMIT_NOFILE: 1024,
}
PROCESSES = 256


def main(arguments: list[str]) -> int:
    """Run the job in the file that `arguments` name."""
    source = sys.stdin.read() if arguments == ["-"] else Path(arguments[0]).read_text("utf-8")
    job = json.loads(source)
    if job.get("limit"):
        limit_self(job.get("user"))
    for command in job["commands"]:
        say(f"$ {shlex.join(command)}")
        code = run(command, job.get("user"))
        if code != 0:
            say(f"exit code {code}")
            return code
    return 0


def run(command: list[str], user: int | None) -> int:
    """Run one command in the current folder, as the user with this number if one is given."""
    as_user: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **as_user).returncode
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return NOT_FOUND
    return 128 - code if code < 0 else code


def say(line: str) -> None:
    """Write a line at once, so that it stands before what the next command prints."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def limit_self(user: int | None) -> None:
    """Set limits that hold without cgroups; children inherit them and cannot raise them."""
    for which, most in LIMITS.items():
        resource.setrlimit(which, (most, most))
    # Processes are counted per user, so a limit makes sense only for one that has no others.
    if user is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
