"""Slack's double: takes what an incoming webhook takes, by the rules of Block Kit, and refuses as Slack does.

Rules: docs.slack.dev/reference/block-kit (blocks, text objects) and /messaging/formatting-message-text. What is not
used here, such as buttons, is refused.
"""

from __future__ import annotations

import json
import re
import socketserver
from dataclasses import dataclass, field
from typing import Any

from tests.controller.notifiers.listening import Listener, answer

DATE = re.compile(r"<!date\^[0-9]{1,10}\^[^<>^|]*\|[^<>|]+>")


@dataclass
class FakeSlack:
    """One webhook; `messages` are what it took."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, page: socketserver.StreamRequestHandler, listener: Listener) -> None:
        """Answer a request."""
        request = listener.requests[-1]
        try:
            assert request.method == "POST", "method"
            assert request.headers["content-type"].startswith("application/json"), "content type"
            check_message(message := json.loads(request.body))
        except (AssertionError, LookupError, ValueError, TypeError) as problem:
            self.complaints.append(repr(problem))
            answer(400, "invalid_payload")(page, listener)
            return
        self.messages.append(message)
        answer(200, "ok")(page, listener)


def check_message(message: dict[str, Any]) -> None:
    """Refuse what Slack would refuse."""
    assert set(message) <= {"text", "blocks"}, set(message)
    assert 0 < length(message["text"]) <= 40_000, "text"
    check_markup(message["text"])
    assert 0 < len(message["blocks"]) <= 50, "blocks"
    for block in message["blocks"]:
        BLOCKS[block["type"]](block)


def check_header(block: dict[str, Any]) -> None:
    """Refuse what is no title in plain text."""
    assert set(block) == {"type", "text"}, block
    assert block["text"]["type"] == "plain_text", block
    check_text(block["text"], 150)


def check_section(block: dict[str, Any]) -> None:
    """Refuse what is no text, nor up to ten fields."""
    assert {"type"} < set(block) <= {"type", "text", "fields"}, block
    if "text" in block:
        check_text(block["text"], 3000)
    if "fields" in block:
        assert 1 <= len(block["fields"]) <= 10, "fields"
        for each in block["fields"]:
            check_text(each, 2000)


def check_context(block: dict[str, Any]) -> None:
    """Refuse what is no small print of up to ten elements."""
    assert set(block) == {"type", "elements"}, block
    assert 1 <= len(block["elements"]) <= 10, "elements"
    for each in block["elements"]:
        check_text(each, 2000)


BLOCKS = {"header": check_header, "section": check_section, "context": check_context}


def check_text(text: dict[str, Any], most: int) -> None:
    """Refuse what is no text object, or a longer one."""
    allowed = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}[text["type"]]
    assert set(text) <= allowed, text
    assert 1 <= length(text["text"]) <= most, f"length {length(text['text'])}"
    if text["type"] == "mrkdwn":
        check_markup(text["text"])


def check_markup(text: str) -> None:
    """Refuse angle brackets but those of our own dates, and an ampersand that begins no escape."""
    rest = DATE.sub("", text)
    assert "<" not in rest, rest
    assert ">" not in rest, rest
    assert not re.search(r"&(?!amp;|lt;|gt;)", rest), rest


def length(text: str) -> int:
    """Return the length as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2
