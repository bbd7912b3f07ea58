"""Customers: a small balancer in the client that asks /healthz, and counts honestly what fails.

Nothing is tried twice: an answer that is late, wrong or missing is a failure.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence

CUSTOMERS = 4
BETWEEN_CHECKS = 0.1  # seconds; the app drains for longer than two of these
BETWEEN_REQUESTS = 0.01


class Traffic:
    """Used with `with`: requests flow to whichever ports are healthy, until it ends."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._healthy = dict.fromkeys(ports, False)
        self._turn = itertools.count()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._watch, args=(port,)) for port in ports]
        self._threads += [threading.Thread(target=self._buy) for _ in range(CUSTOMERS)]
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, port: int) -> None:
        while not self._is_over.wait(BETWEEN_CHECKS):
            self._healthy[port] = _ask(port, "/healthz") == (200, "ready")

    def _buy(self) -> None:
        # The balancer's first look comes before the first customer.
        self._is_over.wait(3 * BETWEEN_CHECKS)
        while not self._is_over.wait(BETWEEN_REQUESTS):
            healthy = [port for port, is_healthy in self._healthy.items() if is_healthy]
            self._count(_ask(healthy[next(self._turn) % len(healthy)], "/version") if healthy else (503, "no server"))

    def _count(self, answer: tuple[int, str]) -> None:
        status, text = answer
        with self._lock:
            if status == 200:
                self.answered[text] += 1
            else:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {status} {text}")


def _ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, f"port {port}: {error!r}"
    finally:
        connection.close()
