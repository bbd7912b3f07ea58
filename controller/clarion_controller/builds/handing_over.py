"""What a builder hands over, written to the disk as it comes, and never more than it may be."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from clarion_protocol.errors import BadContent, NoSpace

FLOOR = 512 * 2**20  # bytes that stay free for the controller's own state
CHUNK = 2**20

Do = Callable[[Callable[[], None]], Awaitable[None]]


async def keep(chunks: AsyncIterator[bytes], path: Path, most: int, do: Do) -> None:
    """Write `chunks` to `path`, which is there only when all have come; `do` calls what waits for the disk.

    Raises:
        BadContent: they are more than `most` bytes.
        NoSpace: the disk is too full for them.
    """
    partial = path.with_name(f"{path.name}.partial")
    total = 0
    with partial.open("wb") as file:
        async for chunk in _gathered(chunks):
            total += len(chunk)
            if total > most:
                raise BadContent(f"{path.name} is larger than {most} bytes", hint="Raise 'disk' in fleet.toml.")
            await do(lambda data=chunk: _write(file, data))  # type: ignore[misc]
        await do(lambda: os.fsync(file.fileno()))
    partial.replace(path)


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what comes in larger pieces: each is a turn of a thread."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _write(file: BinaryIO, data: bytes) -> None:
    disk = os.fstatvfs(file.fileno())
    if disk.f_bavail * disk.f_frsize < FLOOR + len(data):
        raise NoSpace("the controller's disk is too full for a package", hint="On the controller, run 'df -h'.")
    file.write(data)
