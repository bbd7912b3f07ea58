"""Filters as Compute Engine's reference describes them (AIP-160), as far as Clarion writes them.

What the reference leaves open is refused, not guessed: AND and OR side by side without parentheses, and values
without quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Instance = Mapping[str, Any]
Filter = Callable[[Instance], bool]
_TOKEN = re.compile(r'\s*(\(|\)|AND\b|OR\b|:\*|=|"[^"\\]*"|[\w.-]+)')


def parse(text: str) -> Filter:
    """Return the filter that `text` is.

    Raises:
        ValueError: it is none, or its meaning is not documented.
    """
    parser = _Parser(_tokens(text))
    found = parser.expression()
    if parser.tokens:
        raise ValueError(f"not expected: {parser.tokens[0]}")
    return found


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if not found:
            raise ValueError(f"cannot be read from here: {text[at:]}")
        tokens.append(found[1])
        at = found.end()
    return tokens


class _Parser:
    """Takes tokens from the front of a list."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def take(self, expected: str = "") -> str:
        """Return the next token."""
        if not self.tokens or (expected and self.tokens[0] != expected):
            raise ValueError(f"expected {expected or 'more'}, got {self.tokens[:1]}")
        return self.tokens.pop(0)

    def expression(self) -> Filter:
        """Return comparisons that are all joined by AND, or all by OR."""
        parts, joined_by = [self.part()], ""
        while self.tokens and self.tokens[0] in ("AND", "OR"):
            word = self.take()
            if joined_by not in ("", word):
                raise ValueError("AND and OR side by side: which binds?")
            joined_by = word
            parts.append(self.part())
        together = any if joined_by == "OR" else all
        return lambda instance: together(part(instance) for part in parts)

    def part(self) -> Filter:
        """Return a comparison, or what stands in parentheses."""
        if self.tokens and self.tokens[0] == "(":
            self.take()
            inner = self.expression()
            self.take(")")
            return inner
        return self.comparison()

    def comparison(self) -> Filter:
        """Return `field = "value"` or `field:*`."""
        field = self.take()
        if self.take() == ":*":
            return lambda instance: _value(instance, field) is not None
        quoted = self.take()
        if not quoted.startswith('"'):
            raise ValueError(f"without quotes: {quoted}")
        return lambda instance: _value(instance, field) == quoted[1:-1]


def _value(instance: Instance, field: str) -> Any:
    first, _, key = field.partition(".")
    if first not in ("labels", "status", "name"):
        raise ValueError(f"no such field: {field}")
    return instance.get(first, {}).get(key) if key else instance.get(first)
