"""GitHub's double: commit statuses and deployments of one repository, held to the documented payloads.

docs.github.com/rest/commits/statuses and /rest/deployments: unknown keys, missing ones, words outside an enumeration
and what is too long are answered with 422 and remembered in `complaints`.
"""

from __future__ import annotations

import json
import re
import socketserver
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.controller.notifiers.listening import Behaviour, Listener, Request, answer

TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
COMMIT = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
OUTCOMES = ("error", "failure", "pending", "success")
STATES = (*OUTCOMES, "inactive", "in_progress", "queued")
STATUS = {"state", "target_url", "description", "context"}
DEPLOYMENT = {"ref", "task", "auto_merge", "required_contexts", "payload", "environment", "description"}
DEPLOYMENT |= {"transient_environment", "production_environment"}
DEPLOYMENT_STATUS = {"state", "target_url", "log_url", "description", "environment", "environment_url", "auto_inactive"}


class Refused(Exception):
    """GitHub says no, with a status."""


@dataclass
class FakeGithub:
    """One repository, `acme/shop`, with `commits`; `trouble` is what the next requests get after they took effect."""

    commits: set[str] = field(default_factory=lambda: {COMMIT})

    statuses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    states: dict[int, list[str]] = field(default_factory=dict)
    trouble: list[Behaviour | None] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, page: socketserver.StreamRequestHandler, listener: Listener) -> None:
        """Answer a request."""
        try:
            status, body = self._answer(listener.requests[-1])
        except Refused as refusal:
            status, body = refusal.args[0], {"message": refusal.args[1], "documentation_url": "https://docs.github.com"}
            self.complaints.append(f"{status} {refusal.args[1]}")
        trouble = self.trouble.pop(0) if self.trouble else None
        (trouble or answer(status, json.dumps(body), "Content-Type: application/json"))(page, listener)

    def _answer(self, request: Request) -> tuple[int, Any]:
        url = urlsplit(request.path)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Bad credentials")
        if request.headers.get("accept") != "application/vnd.github+json" or not request.headers.get("user-agent"):
            raise Refused(403, "Request forbidden by administrative rules")
        if match := re.fullmatch(r"/repos/acme/shop/statuses/([^/]+)", url.path):
            return self._status(match[1], body_of(request))
        if url.path == "/repos/acme/shop/deployments":
            return self._list(url.query) if request.method == "GET" else self._make(body_of(request))
        if match := re.fullmatch(r"/repos/acme/shop/deployments/([0-9]+)/statuses", url.path):
            return self._change(int(match[1]), body_of(request))
        raise Refused(404, "Not Found")

    def _status(self, commit: str, body: dict[str, Any]) -> tuple[int, Any]:
        check(body, STATUS, {"state"})
        need(body["state"] in OUTCOMES, "state")
        need(commit in self.commits, f"No commit found for SHA: {commit}")
        self.statuses.append((commit, body))
        return 201, {"id": len(self.statuses), "state": body["state"]}

    def _list(self, query: str) -> tuple[int, Any]:
        asked = dict(parse_qsl(query))
        need(set(asked) <= {"sha", "ref", "task", "environment", "per_page", "page"}, "query")
        need(1 <= int(asked.get("per_page", 30)) <= 100, "per_page")
        same = {"sha": "ref", "environment": "environment", "task": "task"}
        found = [each for each in self.deployments if all(each[same[k]] == v for k, v in asked.items() if k in same)]
        return 200, found[::-1][: int(asked.get("per_page", 30))]

    def _make(self, body: dict[str, Any]) -> tuple[int, Any]:
        check(body, DEPLOYMENT, {"ref"})
        need(body["ref"] in self.commits, f"No ref found for: {body['ref']}")
        if body.get("auto_merge", True) or body.get("required_contexts") != []:
            raise Refused(409, "Conflict: Commit status checks failed, or the merge did")
        number = 1000 + len(self.deployments)
        self.deployments.append({"id": number, "task": "deploy", "environment": "production", **body})
        self.states[number] = []
        return 201, {**self.deployments[-1], "sha": body["ref"], "creator": {"login": "clarion"}}

    def _change(self, number: int, body: dict[str, Any]) -> tuple[int, Any]:
        if number not in self.states:
            raise Refused(404, "Not Found")
        check(body, DEPLOYMENT_STATUS, {"state"})
        need(body["state"] in STATES, "state")
        self.states[number].append(body["state"])
        return 201, {"id": 1, "state": body["state"]}


def body_of(request: Request) -> dict[str, Any]:
    """Return the body of a POST."""
    need(request.method == "POST" and request.headers["content-type"] == "application/json", "no JSON is posted")
    body: dict[str, Any] = request.json
    return body


def check(body: dict[str, Any], known: set[str], needed: set[str]) -> None:
    """Refuse a body that the documentation does not allow."""
    need(needed <= set(body) <= known, f"keys {sorted(body)}")
    need(len(body.get("description", "")) <= 140, "description is too long (maximum is 140 characters)")
    need(isinstance(body.get("payload", {}), (dict, str)), "payload")


def need(is_so: bool, otherwise: str) -> None:
    """Refuse unless it is so."""
    if not is_so:
        raise Refused(422, f"Validation Failed: {otherwise}")
