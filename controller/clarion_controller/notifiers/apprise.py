"""Whatever the library apprise reaches, in a process of its own.

apprise waits between messages, has no limit for the whole of a delivery, and takes 60 MB: a child that is ended in time
bears that. The URL, which is the secret, reaches it by stdin: a command line can be read by everybody.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec

import msgspec

from clarion_controller.notice import Notice, Undelivered
from clarion_controller.notifiers.apprise_child import Delivery, Outcome
from clarion_controller.notifiers.post import blotted
from clarion_controller.notifiers.text import line, paragraphs, sign

PATIENCE = 45.0  # seconds for all of it
_CHILD = [sys.executable, "-m", "clarion_controller.notifiers.apprise_child"]


def is_installed() -> bool:
    """Return whether apprise, an extra, is here."""
    return find_spec("apprise") is not None


@dataclass(frozen=True)
class AppriseNotifier:
    """One URL of apprise's."""

    url: str = field(repr=False)
    patience: float = PATIENCE

    def send(self, notice: Notice) -> None:
        """Have apprise deliver the notice.

        Raises:
            Undelivered: it did not, or is not installed.
        """
        if not is_installed():
            raise Undelivered("apprise is not installed: run pip install 'clarion[notify]'", is_final=True)
        title = line(f"{sign(notice)} {notice.title}", 250)
        outcome = self._asked(Delivery(self.url, title, paragraphs(notice), _kind(notice)))
        if outcome.trouble:
            reason = line(blotted(outcome.trouble, (self.url,)), 300)
            raise Undelivered(f"apprise: {reason}", is_final=outcome.is_final)

    def _asked(self, delivery: Delivery) -> Outcome:
        try:
            done = subprocess.run(
                _CHILD, input=msgspec.json.encode(delivery), capture_output=True, timeout=self.patience, check=True
            )
            return msgspec.json.decode(done.stdout, type=Outcome)
        except subprocess.TimeoutExpired:
            # Without the cause: it holds the input.
            raise Undelivered(f"apprise was not done within {self.patience:.0f} s") from None
        except (subprocess.SubprocessError, OSError, msgspec.MsgspecError) as error:
            raise Undelivered(f"apprise ended unexpectedly ({type(error).__name__})") from None


def _kind(notice: Notice) -> str:
    """Return apprise's word for how bad it is."""
    if notice.resolves:
        return "success"
    return {"info": "info", "warning": "warning"}.get(notice.severity.value, "failure")
