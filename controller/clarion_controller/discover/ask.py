"""Ask a source in a short-lived child process.

The SDKs of the clouds cost up to 150 MB and seconds of CPU, and may hang: in a child that memory is given back, the
controller's event loop never waits for their parsers, and what hangs is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from clarion_controller.discover.child import Question, Reply
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import HostSource
from clarion_protocol.errors import CloudUnavailable, all_errors
from clarion_protocol.words import is_instance

_CHUNK = 2**16
_REAPED_WITHIN_S = 5.0
_AGAIN = "It is asked again by itself; the controller's log may say more."

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Child:
    """How a source is asked: which program, for how many seconds, for how many bytes at most."""

    command: tuple[str, ...] = (sys.executable, "-m", "clarion_controller.discover.child")
    deadline: float = 60.0
    max_answer: int = 64 * 2**20
    kept_stderr: int = 4096


async def ask_in_child(source: HostSource, home: Path, child: Child = Child()) -> list[Discovered]:
    """Return the hosts that `source` lists now; a relative inventory lies in `home`.

    Raises:
        ClarionError: what went wrong there, as the class that it has there.
        CloudUnavailable: no answer in time, or none that makes sense.
    """
    question = msgspec.json.encode(Question(source, str(home)))
    try:
        said = await asyncio.wait_for(_run(child, question, source.label), child.deadline)
    except asyncio.TimeoutError:
        raise CloudUnavailable(f"{source.label} did not answer within {child.deadline:g} s", hint=_AGAIN) from None
    return _hosts_in(said, source.label)


async def _run(child: Child, question: bytes, label: str) -> bytes:
    process = await _start(child, label)
    try:
        said, complaint, _ = await asyncio.gather(
            _read(process.stdout, child.max_answer, label),
            _read_end(process.stderr, child.kept_stderr),
            _write(process.stdin, question),
        )
        status = await process.wait()
    finally:
        await _end(process)
    if complaint:
        _log.warning("discovery.child_said", source=label, text=complaint.decode("utf-8", "replace").strip())
    if status:
        raise CloudUnavailable(f"{label} cannot be asked: the process that asks it died ({status})", hint=_AGAIN)
    return said


async def _start(child: Child, label: str) -> Process:
    # In "/", because Python looks for modules where it starts; in a session of its own, to be killed together with
    # whatever an SDK starts.
    try:
        return await asyncio.create_subprocess_exec(
            *child.command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd="/", start_new_session=True
        )
    except OSError as error:
        raise CloudUnavailable(f"{label} cannot be asked: no process starts: {error.strerror}", hint=_AGAIN) from error


async def _write(pipe: asyncio.StreamWriter | None, question: bytes) -> None:
    assert pipe is not None  # noqa: S101 (it was asked for)
    with contextlib.suppress(ConnectionError):  # it died: its exit status says so
        pipe.write(question)
        await pipe.drain()
    pipe.close()


async def _read(pipe: asyncio.StreamReader | None, limit: int, label: str) -> bytes:
    assert pipe is not None  # noqa: S101 (it was asked for)
    said = bytearray()
    while chunk := await pipe.read(_CHUNK):
        said += chunk
        if len(said) > limit:
            raise CloudUnavailable(f"{label} lists more than {limit} bytes of hosts", hint="Narrow it down by tags.")
    return bytes(said)


async def _read_end(pipe: asyncio.StreamReader | None, kept: int) -> bytes:
    assert pipe is not None  # noqa: S101 (it was asked for)
    end = b""
    while chunk := await pipe.read(_CHUNK):
        end = (end + chunk)[-kept:]
    return end


async def _end(process: Process) -> None:
    """Kill what is left of the child and of all that it started, let go of its pipes, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # asyncio keeps a transport open whose pipes are not read to their end, and has no public way to close it.
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        _close_pipes(transport)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), _REAPED_WITHIN_S)
    finally:
        transport.close()


def _close_pipes(transport: asyncio.SubprocessTransport) -> None:
    for descriptor in (0, 1, 2):
        pipe = transport.get_pipe_transport(descriptor)
        if pipe is not None:
            pipe.close()


def _hosts_in(said: bytes, label: str) -> list[Discovered]:
    try:
        reply = msgspec.json.decode(said, type=Reply)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CloudUnavailable(f"{label} cannot be asked: its answer makes no sense: {error}", hint=_AGAIN) from error
    if reply.failure:
        kind = all_errors().get(reply.failure.code, CloudUnavailable)
        raise kind(reply.failure.message, hint=reply.failure.hint)
    odd = next((host.instance for host in reply.hosts if host.instance and not is_instance(host.instance)), None)
    if odd:
        raise CloudUnavailable(f"{label} lists a server with the number {odd[:80]!r}, which is none", hint=_AGAIN)
    return reply.hosts
