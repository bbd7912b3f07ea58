"""One process to a home: two would tell everything twice."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clarion_protocol.errors import Blocked

LOCK = "notifying.lock"
_HELD = b"Whoever holds this lock tells people from this home.\n"


@contextmanager
def alone(home: Path) -> Iterator[bool]:
    """Hold the lock, and yield whether anybody ever held it: then an outbox that is not there was lost.

    Raises:
        Blocked: another process holds it.
    """
    with (home / "state" / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Blocked(
                f"people are told from {home} already", hint="It is begun by 'clarion serve' alone."
            ) from error
        was_here = file.tell() > 0
        if not was_here:
            file.write(_HELD)
            file.flush()
        yield was_here


def is_told(home: Path) -> bool:
    """Return whether a process tells people from `home` now."""
    try:
        with (home / "state" / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
