"""The child that delivers once through apprise: a `Delivery` in JSON on stdin, an `Outcome` on stdout."""

from __future__ import annotations

import logging
import os
import signal
import sys

import msgspec

ORPHANED_AFTER_S = 60


class Delivery(msgspec.Struct, frozen=True):
    """What is told, to whom; `kind` is info, success, warning or failure."""

    url: str
    title: str
    body: str
    kind: str


class Outcome(msgspec.Struct, frozen=True):
    """Why it was not delivered; "" if it was."""

    trouble: str = ""
    is_final: bool = False


class LastWords(logging.Handler):
    """Keeps the last complaint: apprise returns only that it failed, and logs why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said = record.getMessage()


def main() -> None:
    """Read the delivery, make it, write what came of it."""
    signal.alarm(ORPHANED_AFTER_S)
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)  # a plugin that prints does not print into the answer
        outcome = deliver(msgspec.json.decode(sys.stdin.buffer.read(), type=Delivery))
        answer.write(msgspec.json.encode(outcome))


def deliver(delivery: Delivery) -> Outcome:
    """Return what came of handing the delivery to apprise."""
    import apprise  # noqa: PLC0415 (an extra, and slow to import)

    last_words = LastWords()
    logger = logging.getLogger("apprise")
    logger.addHandler(last_words)
    # What a host says is text, whatever a service could make of it: no Markdown, no HTML, no escapes.
    asset = apprise.AppriseAsset(app_id="Clarion", interpret_escapes=False, interpret_emojis=False)
    to = apprise.Apprise(asset=asset)
    if not to.add(delivery.url):
        return Outcome("it does not understand the URL", is_final=True)
    if to.notify(body=delivery.body, title=delivery.title, notify_type=delivery.kind, body_format="text"):
        return Outcome()
    return Outcome(last_words.said or "it could not deliver, and does not say why")


if __name__ == "__main__":
    main()
