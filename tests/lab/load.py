"""Customers behind a balancer, from the lab's own place on its network. Run as a script, standard library only.

    python3 load.py SECONDS URL...

The balancer asks each server's /healthz four times a second and sends customers only to those that say ready. One
customer per server asks for / some thirty times a second. Ends after SECONDS or when stdin closes; prints, as JSON, for
each URL how many answers came well, each failure with the time it was seen, and the versions that answered.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, field

HEALTH_INTERVAL = 0.25
PAUSE = 0.03
PATIENCE = 2.0


@dataclass
class Tally:
    """What customers saw of one server."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def count(self, version: str) -> None:
        """Count an answer."""
        self.answered += 1
        if version not in self.versions:
            self.versions.append(version)

    def fail(self, error: OSError) -> None:
        """Count a failure."""
        self.failures.append(f"{time.time():.3f} {error!r}")


class Backend:
    """One server as the balancer knows it."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        self.url = url
        self.tally = Tally()
        self._stop = stop
        self._is_ready = False
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in (self._look, self._ask)]

    def start(self) -> None:
        """Begin to look and to ask."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for both to end."""
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def _look(self) -> None:
        while not self._stop.wait(HEALTH_INTERVAL):
            self._is_ready = self._says_ready()

    def _says_ready(self) -> bool:
        try:
            return bool(_get(f"{self.url}/healthz"))
        except OSError:
            return False

    def _ask(self) -> None:
        while not self._stop.wait(PAUSE):
            if self._is_ready:
                self._ask_once()

    def _ask_once(self) -> None:
        try:
            self.tally.count(_get(f"{self.url}/"))
        except OSError as error:
            self.tally.fail(error)


def _get(url: str) -> str:
    """Return the version that answered; urllib's errors and broken answers are all OSErrors."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        answer.read()
        return str(answer.headers["X-Shop-Version"])


def main(seconds: float, urls: list[str]) -> None:
    """Serve customers until the time is over or nobody listens any more."""
    stop = threading.Event()
    backends = {url: Backend(url, stop) for url in urls}
    for backend in backends.values():
        backend.start()
    threading.Thread(target=_stop_at_end_of_input, args=[stop], daemon=True).start()
    stop.wait(seconds)
    stop.set()
    for backend in backends.values():
        backend.join()
    print(json.dumps({url: asdict(backend.tally) for url, backend in backends.items()}), flush=True)


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
