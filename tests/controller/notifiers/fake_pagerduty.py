"""PagerDuty's double: POST /v2/enqueue, strictly (developer.pagerduty.com, Events API v2, "Send an Alert Event")."""

from __future__ import annotations

import re
import socketserver
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.controller.notifiers.listening import Listener, answer

KEY = "R0123456789ABCDEF0123456789ABCDE"  # 32 characters
TOP = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


@dataclass
class FakePagerDuty:
    """One integration; `open` are the incidents that somebody is paged for."""

    events: list[dict[str, Any]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, page: socketserver.StreamRequestHandler, listener: Listener) -> None:
        """Answer a request."""
        request = listener.requests[-1]
        try:
            assert (request.method, request.path) == ("POST", "/v2/enqueue"), request.path
            assert request.headers["content-type"] == "application/json"
            assert len(request.body) <= 512 * 1024, "longer than 512 KB"
            check_event(event := request.json)
        except (AssertionError, LookupError, ValueError, TypeError) as problem:
            self.complaints.append(repr(problem))
            said = '{"status":"invalid event","message":"Event object is invalid","errors":["' + type(problem).__name__
            answer(400, said + '"]}')(page, listener)
            return
        self._take(event)
        answer(202, '{"status":"success","message":"Event processed","dedup_key":"x"}')(page, listener)

    def _take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        key = event["dedup_key"]
        if event["event_action"] == "trigger" and key not in self.open:
            self.open.append(key)
        if event["event_action"] == "resolve" and key in self.open:
            self.open.remove(key)


def check_event(event: dict[str, Any]) -> None:
    """Refuse what PagerDuty would refuse."""
    assert set(event) <= TOP, set(event)
    assert re.fullmatch(r"[A-Za-z0-9]{32}", event["routing_key"]), "routing_key"
    assert event["event_action"] in ("trigger", "acknowledge", "resolve")
    assert 0 < len(event["dedup_key"]) <= 255, "dedup_key"
    if event["event_action"] == "trigger":
        check_payload(event["payload"])


def check_payload(payload: dict[str, Any]) -> None:
    """Summary, source and severity are required."""
    assert set(payload) <= PAYLOAD, set(payload)
    assert 0 < len(payload["summary"]) <= 1024, "summary"
    assert 0 < len(payload["source"]) <= 255, "source"
    assert payload["severity"] in ("critical", "warning", "error", "info")
    if "timestamp" in payload:
        assert datetime.fromisoformat(payload["timestamp"]).tzinfo, "timestamp"
    for name in ("component", "group", "class"):
        assert isinstance(payload.get(name, "x"), str), name
        assert payload.get(name, "x"), name
    assert isinstance(payload.get("custom_details", {}), dict)
