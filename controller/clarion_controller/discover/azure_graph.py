"""Questions to Azure Resource Graph, page after page, with patience that ends.

- An answer is whole or an error: rows that are missing would look as if their servers were gone.
- The SDK's own retries are off: they sleep as long as Azure says, and that may be an hour.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from clarion_controller.discover.azure_errors import explain, is_passing
from clarion_protocol.errors import CloudUnavailable

PAGE = 1000  # the most that Resource Graph gives
AGAIN = "It is asked again later."
NONSENSE = f"A proxy or the wrong endpoint in fleet.toml? {AGAIN}"
Row = TypeVar("Row", bound=msgspec.Struct)


@dataclass(frozen=True)
class Limits:
    """How long Azure is waited for, in seconds: no page is asked for after `total`."""

    connect: float = 5.0
    read: float = 10.0
    total: float = 30.0
    attempts: int = 3
    pause: float = 0.5


@dataclass(frozen=True)
class Graph:
    """Resource Graph as these subscriptions see it, until the patience is over."""

    client: Any
    subscriptions: tuple[str, ...]
    limits: Limits
    began: float = field(default_factory=time.monotonic)

    def rows(self, query: str, row: type[Row]) -> Iterator[Row]:
        """Return all rows that answer the query.

        Raises:
            BadConfig: Azure does not know a subscription.
            CloudRefused: the credentials are missing, wrong or expired, or lack a permission.
            CloudUnavailable: it does not answer, asks for patience, or its answer is not whole.
        """
        answer = self._patiently(query, None)
        total, seen = answer.total_records, 0
        while True:
            page = _rows_of(answer, row)
            yield from page
            seen += len(page)
            if not answer.skip_token or not page:
                break
            answer = self._patiently(query, answer.skip_token)
            if answer.total_records != total:
                raise CloudUnavailable("servers came or went while Azure listed them", hint=AGAIN)
        if seen != total or answer.skip_token or answer.result_truncated != "false":
            raise CloudUnavailable(f"Azure listed {seen} of {total} rows", hint=AGAIN)

    def _patiently(self, query: str, token: str | None) -> Any:
        """Return one page, asked for again while that may help."""
        for attempt in range(1, self.limits.attempts + 1):
            try:
                return self._page(query, token)
            except _errors() as error:
                pause = _asked_to_wait(error) or self.limits.pause * attempt
                is_last = attempt == self.limits.attempts or pause > self._left()
                if is_last or not is_passing(error):
                    raise explain(error, self.subscriptions) from error
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _page(self, query: str, token: str | None) -> Any:
        from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions, QueryResponse  # noqa: PLC0415

        if self._left() <= 0:
            raise CloudUnavailable(
                f"Azure needs more than {self.limits.total:.0f} s to list the servers",
                hint="Narrow the source in fleet.toml, by tags or resource_groups.",
            )
        options = QueryRequestOptions(result_format="objectArray", top=PAGE, skip_token=token)
        request = QueryRequest(query=query, subscriptions=list(self.subscriptions), options=options)
        answer = self.client.resources(request)
        if not isinstance(answer, QueryResponse):
            raise CloudUnavailable("Azure's answer is empty", hint=NONSENSE)
        return answer

    def _left(self) -> float:
        return self.began + self.limits.total - time.monotonic()


def _rows_of(answer: Any, row: type[Row]) -> list[Row]:
    try:
        return msgspec.convert(answer.data, list[row])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise CloudUnavailable(f"what Azure lists cannot be read: {error}", hint=NONSENSE) from error


def _errors() -> tuple[type[Exception], ...]:
    """Return what the SDK raises; of some answers that are no JSON it makes a plain ValueError or RecursionError."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415

    return AzureError, ValueError, RecursionError


def _asked_to_wait(error: Exception) -> float:
    """Return for how many seconds Azure asks for patience, 0 if it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0
