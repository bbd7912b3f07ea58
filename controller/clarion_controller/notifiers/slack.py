"""Slack, by an incoming webhook: Block Kit, within its limits (docs.slack.dev/reference/block-kit/blocks).

A header has at most 150 characters, a section's text 3,000, each of its at most 10 fields 2,000, counted as UTF-16
and after escaping; `verbatim` keeps Slack from making mentions and links of what a host says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clarion_controller.notice import Notice
from clarion_controller.notifiers.post import Call, post
from clarion_controller.notifiers.text import CUT, line, moment, names, place, sign

HEADER, SECTION, FIELD = 150, 3000, 2000
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True)
class SlackNotifier:
    """One incoming webhook."""

    url: str = field(repr=False)

    def send(self, notice: Notice) -> None:
        """Post the notice to the webhook's channel.

        Raises:
            Undelivered: Slack did not take it.
        """
        body = msgspec.json.encode(message_of(notice))
        post(Call(self.url, body, {"Content-Type": "application/json"}, secrets=(self.url,)))


def message_of(notice: Notice) -> dict[str, Any]:
    """Return the notice as a message; `text` is what a notification on a phone shows."""
    title, reason = line(notice.title, HEADER) or notice.kind.value, line(notice.reason, SECTION)
    header = {"type": "plain_text", "text": _fitting(f"{sign(notice)} {title}", HEADER), "emoji": True}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    if reason:
        blocks.append({"type": "section", "text": _mrkdwn(escaped(reason, SECTION))})
    blocks.append({"type": "section", "fields": [_mrkdwn(each) for each in _fields(notice)]})
    if command := line(notice.next_command, 500).replace("`", "'"):
        blocks.append({"type": "section", "text": _mrkdwn(f"*Next:* `{escaped(command, FIELD)}`")})
    blocks.append({"type": "context", "elements": [_mrkdwn(_context(notice))]})
    text = f"{sign(notice)} {escaped(title, HEADER)}"
    return {"text": f"{text}: {escaped(reason, 500)}" if reason else text, "blocks": blocks}


def _fields(notice: Notice) -> list[str]:
    facts = {
        "Where": escaped(place(notice), FIELD - 100),
        "Since": _date(notice.since),
        "Affected": escaped(names(notice.affected, 20), FIELD - 100),
        "Severity": notice.severity.value,
    }
    return [f"*{name}*\n{value}" for name, value in facts.items() if value]


def _context(notice: Notice) -> str:
    cluster = escaped(line(notice.cluster, 100), 200)
    return " · ".join(part for part in (f"Clarion {cluster}".strip(), notice.kind.value, _date(notice.at)) if part)


def _date(at: float) -> str:
    """Return a time that Slack shows in the reader's own time zone."""
    return f"<!date^{int(at)}^{{date_short_pretty}} {{time_secs}}|{moment(at)}>"


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def escaped(text: str, most: int) -> str:
    """Return `text` so that none of it means anything to Slack, cut between characters to fit."""
    return _fitting([_ESCAPES.get(each, each) for each in text], most)


def _fitting(pieces: Sequence[str], most: int) -> str:
    if sum(map(_length, pieces)) <= most:
        return "".join(pieces)
    kept, left = [], most - len(CUT)
    for piece in pieces:
        left -= _length(piece)
        if left < 0:
            break
        kept.append(piece)
    return "".join(kept) + CUT


def _length(text: str) -> int:
    return len(text) + sum(each > "\uffff" for each in text)
