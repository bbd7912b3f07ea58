"""The process that tells people: `python -m clarion_controller.notifying.main HOME PARENT`, kept running by `serve`.

1. hold the lock     one to a home: two would tell everything twice
2. open              the log for reading, the outbox for writing; a damaged one is begun anew
3. resume            where it was, or at the log's end
4. deliver           a courier for each channel and each forge, as fleet.toml says
5. read on           each new portion of the log: outbox first, then ring
6. end               at SIGTERM, or when the controller that began it is gone

A controller that waits for nothing here cannot be held up by anything here.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from pathlib import Path

import structlog
from sqlalchemy.exc import DatabaseError

from clarion_agent.logs import begin_logging
from clarion_agent.stopping import set_at_signal
from clarion_controller.notifying.alone import alone
from clarion_controller.notifying.outbox import Outbox
from clarion_controller.notifying.tail import Tail
from clarion_controller.notifying.tell import Teller
from clarion_protocol.errors import ClarionError

_log = structlog.get_logger(__name__)


def main() -> None:
    """Tell people until SIGTERM."""
    begin_logging()
    home, parent = Path(sys.argv[1]), int(sys.argv[2])
    try:
        sys.exit(run(home, parent))
    except ClarionError as error:
        _log.error("notifying.cannot_begin", reason=error.message, hint=error.hint)
        sys.exit(1)
    except DatabaseError as error:
        _log.error("notifying.cannot_begin", reason=str(error.orig), hint="Is the disk full? Run 'clarion doctor'.")
        sys.exit(1)


def run(home: Path, parent: int) -> int:
    """Tell people what the log of `home` says until SIGTERM, or the end of `parent`; return the exit status.

    Raises:
        Blocked: another process does already.
        BadConfig: the log cannot be read or the outbox cannot be used.
        DatabaseError: nothing can be written.
    """
    with ExitStack() as stack:
        was_here = stack.enter_context(alone(home))
        tail = stack.enter_context(closing(Tail(home)))
        outbox = stack.enter_context(closing(Outbox(home)))
        teller = Teller(home, tail, outbox, was_here=was_here or outbox.is_begun_anew)
        set_at_signal(teller.stop)
        return teller.run(parent)


if __name__ == "__main__":
    main()
