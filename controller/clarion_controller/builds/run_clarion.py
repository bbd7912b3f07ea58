"""Another `clarion` as a child of the controller: what takes long or needs a key never runs in its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT = 4096

Hear = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """How it ended: its exit code, and the end of what it wrote."""

    code: int
    output: str

    @property
    def complaint(self) -> str:
        """What it says is wrong, in one line."""
        errors = [line.partition("error:")[2] for line in self.output.splitlines() if line.startswith("error:")]
        last = self.output.strip().splitlines()[-1:] or [f"it ended with {self.code}"]
        return (errors or last)[-1].strip()


@dataclass(frozen=True)
class Clarion:
    """The command line of this Clarion, for the controller of `home`; none of its commands may take `longest` s."""

    home: Path
    api: Path
    longest: float = 3600.0
    program: Sequence[str] = (sys.executable, "-I", "-c", "from clarion_controller.cli import main; main()")

    async def run(self, arguments: Sequence[str], hear: Hear) -> Outcome:
        """Run it to its end; `hear` is given what it writes, as it does."""
        command = [*self.program, "--home", str(self.home), "--api", str(self.api), *arguments]
        # In a session of its own, to be killed together with whatever it starts.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd="/", start_new_session=True
        )
        try:
            return await asyncio.wait_for(_listen(process, hear), self.longest)
        except asyncio.TimeoutError:
            return Outcome(124, f"error: 'clarion {arguments[0]}' did not end within {self.longest:g} s")
        finally:
            await _end(process)


async def _listen(process: Process, hear: Hear) -> Outcome:
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    end = b""
    while chunk := await process.stdout.read(65_536):
        await hear(chunk)
        end = (end + chunk)[-KEPT:]
    return Outcome(await process.wait(), end.decode("utf-8", "replace"))


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
