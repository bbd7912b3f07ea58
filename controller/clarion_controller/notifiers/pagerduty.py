"""PagerDuty, by its Events API v2: a notice triggers an alert of its incident, or resolves it.

- What opens no incident pages nobody: nothing would resolve the alert.
- A test triggers and resolves at once, so that it leaves no open incident behind.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import msgspec

from clarion_controller.notice import Kind, Notice
from clarion_controller.notifiers.post import Call, post
from clarion_controller.notifiers.text import line, names

SUMMARY = 1024
DEDUP_KEY = 255


@dataclass(frozen=True)
class PagerDutyNotifier:
    """One integration of one service, known by its routing key."""

    routing_key: str = field(repr=False)
    url: str
    cluster: str

    def send(self, notice: Notice) -> None:
        """Enqueue the event.

        Raises:
            Undelivered: PagerDuty did not take it.
        """
        if not (notice.opens or notice.resolves or notice.kind is Kind.TEST):
            return
        self._post(event_of(notice, self.cluster))
        if notice.kind is Kind.TEST and not notice.resolves:
            self._post(event_of(msgspec.structs.replace(notice, resolves=True), self.cluster))

    def _post(self, event: dict[str, Any]) -> None:
        body = msgspec.json.encode({"routing_key": self.routing_key, **event})
        post(Call(self.url, body, {"Content-Type": "application/json"}, secrets=(self.routing_key,)))


def event_of(notice: Notice, cluster: str) -> dict[str, Any]:
    """Return the notice as an event, all but the routing key."""
    key = {"dedup_key": _key(f"{cluster}/{notice.incident}")}
    if notice.resolves:
        return {"event_action": "resolve", **key}
    return {"event_action": "trigger", **key, "client": "Clarion", "payload": _payload(notice, cluster)}


def _key(incident: str) -> str:
    return incident if len(incident) <= DEDUP_KEY else hashlib.sha256(incident.encode()).hexdigest()


def _payload(notice: Notice, cluster: str) -> dict[str, Any]:
    title, reason = line(notice.title, 300), line(notice.reason, 2000)
    facts = {"component": line(notice.app, 255), "group": line(notice.environment, 255), "class": notice.kind.value}
    details = {
        "reason": reason,
        "since": _time(notice.since),
        "affected": names(notice.affected, 50),
        "next_command": line(notice.next_command, 500),
    }
    return {
        "summary": line(f"{title}: {reason}" if reason else title, SUMMARY) or notice.kind.value,
        "source": line(_source(notice, cluster), 255) or "clarion",
        "severity": notice.severity.value,
        "timestamp": _time(notice.at),
        **{name: value for name, value in facts.items() if value},
        "custom_details": {name: value for name, value in details.items() if value},
    }


def _source(notice: Notice, cluster: str) -> str:
    """Return the host, if only one is affected, else the cluster: builds and nights affect no host."""
    is_of_hosts = bool(notice.environment)
    return notice.affected[0] if is_of_hosts and len(notice.affected) == 1 else cluster


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
