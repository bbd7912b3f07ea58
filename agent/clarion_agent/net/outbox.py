"""Reports that the controller does not have yet: signed when they happen, kept until acknowledged.

- A report lies here as its signed envelope, one file each, so a killed agent loses none.
- Sequence numbers rise for ever: at least the time in milliseconds, so that even a host
  restored from an old snapshot goes on above what it has used.
- Reports travel in order, and a heartbeat only when none waits: the controller takes
  nothing older than what it has.
- A full outbox forgets its oldest step first, and outcomes last.
- On a full disk reports wait in memory: a host must be able to say that its disk is full.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from clarion_agent import durable
from clarion_agent.host_facts import boot_id
from clarion_protocol.documents import Facts, Head, Progress, Report, Running
from clarion_protocol.keys import SigningKey

FOLDER = "outbox"
# Less than the gateway takes from one host within a second.
MAX_REPORTS = 256
_SEQ_FILE = "last_seq"
_OUTCOME, _STEP = ".outcome", ".step"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Author:
    """Whoever signs reports, and how it learns what to say about its host."""

    cluster: str
    host: str
    key: SigningKey
    running: Callable[[], list[Running]]
    heads: Callable[[], dict[str, Head]]
    facts: Callable[[], Facts]

    def draft(self, progress: Progress | None) -> Report:
        """Return a report of what is true now, without its sequence number."""
        return Report(
            cluster=self.cluster,
            host=self.host,
            boot=boot_id(),
            seq=0,
            at=int(time.time()),
            facts=self.facts() if progress is None else None,
            running=self.running(),
            heads=self.heads(),
            progress=progress,
        )

    def sign(self, draft: Report, seq: int) -> bytes:
        """Return the signed report with its sequence number."""
        return msgspec.structs.replace(draft, seq=seq).sealed(self.key)


class Outbox:
    """The queue in `folder`; any thread may use it."""

    def __init__(self, folder: Path, author: Author) -> None:
        durable.make_folder(folder, mode=0o700)
        self._folder = folder
        self._author = author
        self._lock = threading.Lock()
        self._waiting = _read_folder(folder)
        self._unwritten: dict[int, bytes] = {}
        self._seq = max([_last_seq(folder), *self._waiting])

    def put(self, progress: Progress) -> None:
        """Queue a report of `progress`. An outcome survives a power cut too, a step only the end of this process."""
        with self._drafted(progress) as draft:
            seq = self._next_seq()
            path = self._folder / f"{seq:019d}{_OUTCOME if progress.status.is_final else _STEP}"
            self._keep(seq, path, self._author.sign(draft, seq))
            self._make_room()

    def heartbeat(self) -> bytes | None:
        """Return a signed report that this host lives and what it runs; it is not kept. None while others wait."""
        with self._drafted(None) as draft:
            return None if self._waiting else self._author.sign(draft, self._next_seq())

    @contextmanager
    def _drafted(self, progress: Progress | None) -> Iterator[Report]:
        """Hold the lock with a draft that no other report has overtaken.

        It is drafted without the lock, because what this host runs is asked of the core,
        whose threads put reports here.
        """
        while True:
            before = self._seq
            draft = self._author.draft(progress)
            with self._lock:
                if self._seq == before:
                    yield draft
                    return

    def waiting(self, *, after: int = 0, limit: int = 16) -> list[tuple[int, bytes]]:
        """Return the oldest reports above the sequence number `after`, with their numbers."""
        with self._lock:
            chosen = [(seq, path) for seq, path in self._waiting.items() if seq > after][:limit]
            return [(seq, self._unwritten.get(seq) or path.read_bytes()) for seq, path in chosen]

    def acknowledge(self, seq: int) -> None:
        """Forget all reports up to `seq`: the controller has them."""
        with self._lock:
            for known in [known for known in self._waiting if known <= seq]:
                self._forget(known)

    def __len__(self) -> int:
        return len(self._waiting)

    def _next_seq(self) -> int:
        self._seq = max(self._seq + 1, time.time_ns() // 1_000_000)
        # Neither synced nor insisted on: only a clock that was set back *and* a restart could make this matter.
        with suppress(OSError):
            (self._folder / _SEQ_FILE).write_text(str(self._seq), "ascii")
        return self._seq

    def _keep(self, seq: int, path: Path, envelope: bytes) -> None:
        try:
            _write(path, envelope, is_durable=path.suffix == _OUTCOME)
        except OSError as error:
            self._unwritten[seq] = envelope
            _log.warning("outbox.unwritten", seq=seq, error=str(error))
        self._waiting[seq] = path

    def _forget(self, seq: int) -> None:
        self._unwritten.pop(seq, None)
        self._waiting.pop(seq).unlink(missing_ok=True)

    def _make_room(self) -> None:
        while len(self._waiting) > MAX_REPORTS:
            steps = (seq for seq, path in self._waiting.items() if path.suffix == _STEP)
            oldest = next(steps, next(iter(self._waiting)))
            self._forget(oldest)
            _log.warning("outbox.full", forgotten=oldest, kept=len(self._waiting))


def count_waiting(folder: Path) -> int:
    """Return how many reports lie in an outbox that another process may be using."""
    return sum(path.suffix in {_OUTCOME, _STEP} for path in folder.iterdir()) if folder.is_dir() else 0


def _read_folder(folder: Path) -> dict[int, Path]:
    """Return the queued reports by sequence number, in order; half-written files are removed."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in {_OUTCOME, _STEP} and path.stem.isdigit() and path.stat().st_size:
            found[int(path.stem)] = path
        elif path.name != _SEQ_FILE:
            path.unlink()
    return found


def _last_seq(folder: Path) -> int:
    try:
        return int((folder / _SEQ_FILE).read_text("ascii") or 0)
    except (OSError, ValueError):
        return 0


def _write(path: Path, content: bytes, *, is_durable: bool) -> None:
    if is_durable:
        durable.write_atomic(path, content)
        return
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)  # noqa: PTH105
