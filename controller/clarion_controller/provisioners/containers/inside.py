"""Runs a program in an island's network and processes, with this machine's files: `inside NETWORK PIDS PROGRAM ...`.

NETWORK and PIDS are descriptors of the island's namespaces, which cannot be mistaken for another's later on.

The island's end ends the program, by the kernel's hand. Until then signals are passed on to it, and this process ends
as it does, so that to whoever starts it this process is the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

_NEW_PIDS, _NEW_NETWORK = 0x20000000, 0x40000000
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Its own /proc, so that what it finds there under its own number is itself.
_OWN_PROC = ("unshare", "--mount", "--mount-proc", "setpriv", "--pdeathsig=KILL")


def main(network: str, pids: str, *argv: str) -> int:
    """Run the program `argv` in these namespaces, and return how it ended.

    Raises:
        OSError: the island has ended.
    """
    _enter(int(network), _NEW_NETWORK)
    _enter(int(pids), _NEW_PIDS)
    # Children only, and only after both: a process cannot change its own number.
    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    program = subprocess.Popen([*_OWN_PROC, *argv], preexec_fn=lambda: _unblock(waiting))  # noqa: PLW1509 (one thread)

    def pass_on(number: int, _: FrameType | None) -> None:
        program.send_signal(number)

    for each in _PASSED_ON:
        signal.signal(each, pass_on)
    _unblock(waiting)
    return _ended_as(program.wait())


def _enter(namespace: int, kind: int) -> None:
    # os.setns comes with Python 3.12.
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter the island")
    os.close(namespace)


def _unblock(mask: set[int | signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _ended_as(code: int) -> int:
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        sys.exit(f"the night is over: {error}")
