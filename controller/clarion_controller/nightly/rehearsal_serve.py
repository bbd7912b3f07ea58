"""The controller of a rehearsal as a process: `clarion serve` that ends with whoever started it.

Its input is a pipe that nobody writes to: its end comes when the night has ended, kill -9 included.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from clarion_controller.serve import serve
from clarion_protocol.errors import ClarionError

LAST_GRACE = 20.0  # seconds for an orderly end


def main(home: Path) -> None:
    """Serve the cluster in `home` until SIGTERM, or until the input ends."""
    threading.Thread(target=_end_with_the_night, daemon=True).start()
    serve(home)


def _end_with_the_night() -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread that reads it would hold its lock at the end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_GRACE)
    os._exit(1)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except ClarionError as error:
        sys.exit(error.message)
