"""Fetching files from the package store, patiently: what may pass is tried again, what is wrong is told.

A lost connection, silence, 429 and 5xx are tried again after a jittered pause, from the byte
that was reached. A wrong answer stays wrong and is not repeated. What is fetched is not
believed here; the core checks it against signed hashes.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clarion_agent.config import Config
from clarion_agent.net.patience import Patience
from clarion_agent.net.place import NotInStore, Span
from clarion_agent.net.store_http import StoreHttp
from clarion_agent.net.web_server import AttemptFailed
from clarion_protocol.errors import HostError, NoSpace, StoreUnavailable


class Fetcher:
    """Reads files of the one store at `base_url`, which may redirect to `origins`; for several threads at once.

    `named_by` is the setting that named the store; empty if the controller did.
    """

    def __init__(
        self, base_url: str, patience: Patience | None = None, origins: Collection[str] = (), named_by: str = ""
    ) -> None:
        self.patience = patience or Patience()
        self._store = StoreHttp(base_url, self.patience, origins, named_by)

    @classmethod
    def of(cls, config: Config, told: str, patience: Patience | None = None) -> Fetcher:
        """Return the fetcher of a host: its store is where agent.toml says, or else where the controller `told`."""
        named_by = "package_url in agent.toml" if config.package_url else ""
        return cls(config.package_url or told, patience, config.package_origins, named_by)

    @property
    def base_url(self) -> str:
        """Where the store is."""
        return self._store.base_url

    def fetch(self, path: str, into: Path, spans: Sequence[tuple[int, int]], *, total: int) -> None:
        """Write bytes of the package file `path` to the file `into`, each span at its own offset.

        `spans` are (offset, length) in bytes, sorted and apart; `total` is the whole file's length.

        Raises:
            StoreUnavailable: the store does not answer, or too slowly.
            StoreMisbehaved: it answers with something else than was asked for.
            NoSpace: the disk is full.
        """
        attempts = _Attempts(self.patience)
        with _writing(into) as write_at, self._store.file(f"/packages/{path}") as file:
            for offset, length in spans:
                wanted = Span(offset, length, total)
                while wanted.length:
                    with attempts.one():
                        for chunk in file.span(wanted):
                            write_at(chunk, wanted.offset)
                            wanted = wanted.after(len(chunk))
                            attempts.progressed()

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return a small file of at most `limit` bytes, or None if the store says that there is none.

        Raises:
            StoreUnavailable: the store does not answer, or too slowly.
            StoreMisbehaved: it answers with something else than was asked for.
        """
        attempts = _Attempts(self.patience)
        while True:
            with attempts.one():
                try:
                    return b"".join(self._store.whole(path, limit))
                except NotInStore:
                    return None


class _Attempts:
    """When to try again, and when to give up."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._deadline = time.monotonic() + patience.deadline
        self._failures = 0

    def progressed(self) -> None:
        """Forget earlier failures: bytes came."""
        self._failures = 0
        if time.monotonic() > self._deadline:
            raise AttemptFailed(self._too_long())

    @contextmanager
    def one(self) -> Iterator[None]:
        """Carry out one attempt; pause if it failed and another may help.

        Raises:
            StoreUnavailable, StoreMisbehaved: it failed, and no other would help.
        """
        try:
            yield
        except AttemptFailed as failure:
            self._failures += not failure.is_busy
            if not failure.may_pass or self._failures >= self._patience.attempts:
                raise failure.error from failure
            longest = min(self._patience.pause * 2**self._failures, self._patience.longest_pause)
            pause = random.uniform(longest / 2, longest)  # noqa: S311 (spreads a fleet, keeps no secret)
            if time.monotonic() + pause > self._deadline:
                raise self._too_long() from failure
            time.sleep(pause)

    def _too_long(self) -> StoreUnavailable:
        return StoreUnavailable(f"the package store took longer than {self._patience.deadline:.0f} s altogether")


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[bytes, int], None]]:
    """Open `path` and hand out how to write bytes at an offset.

    Raises:
        NoSpace: the disk is full.
        HostError: the file cannot be written for another reason.
    """
    with host_trouble(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write_at(data: bytes, offset: int) -> None:
        view = memoryview(data)
        with host_trouble(path):
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written

    try:
        yield write_at
    finally:
        os.close(descriptor)


@contextmanager
def host_trouble(path: Path) -> Iterator[None]:
    """Say what is wrong with this host's disk if `path` cannot be written.

    Raises:
        NoSpace: it is full.
        HostError: another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left for {path}", hint=f"Run 'df -h {path.parent}'.") from error
        raise HostError(f"{path} cannot be written: {error.strerror}") from error
