"""What a builder hands over, written to the disk as it comes, and never more than it may be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from clarion_controller.durable_files import PARTIAL
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
    with _whole(path) as file:
        await _write_all(chunks, file, most, do)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Write to a file of this call's own: nobody writes on in one that was accepted."""
    descriptor, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


async def _write_all(chunks: AsyncIterator[bytes], file: BinaryIO, most: int, do: Do) -> None:
    total = 0
    async for chunk in _gathered(chunks):
        total += len(chunk)
        if total > most:
            raise BadContent(f"more than {most} bytes", hint="Raise 'disk' of the repository in fleet.toml.")
        await do(partial(_write, file, chunk))
    await do(partial(os.fsync, file.fileno()))


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
