"""Files of the home's own store, opened for one answer: plain files only, read a chunk at a time off the loop."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from clarion_controller.package_store.answer import File, headers_of
from clarion_controller.stores.store import Span

CHUNK = 256 * 1024


@asynccontextmanager
async def opened(file: Path, path: str) -> AsyncIterator[File | None]:
    """Hand out a file that is asked for as `path`, or None if there is none."""
    descriptor = await asyncio.to_thread(_open, file)
    if descriptor is None:
        yield None
        return
    try:
        yield _file(path, descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _file(path: str, descriptor: int) -> File:
    status = os.fstat(descriptor)
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    return File(status.st_size, headers_of(path, etag), etag, partial(_read, descriptor), is_near=True)


async def _read(descriptor: int, span: Span) -> AsyncGenerator[bytes, None]:
    offset, end = span.offset, span.offset + span.length
    while offset < end:
        chunk = await asyncio.to_thread(os.pread, descriptor, min(CHUNK, end - offset), offset)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk
