"""GitLab's double: commit statuses and deployments of one project (docs.gitlab.com/api/commits, /api/deployments).

What the documentation does not allow is answered with 400 and remembered in `complaints`; a status that stands already
is refused as GitLab does, which is no complaint.
"""

from __future__ import annotations

import json
import re
import socketserver
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.controller.forges.fake_github import COMMIT, Refused, body_of
from tests.controller.notifiers.listening import Behaviour, Listener, Request, answer

TOKEN = "glpat-0123456789abcdefghij"
PROJECT = "/api/v4/projects/acme%2Fteam%2Fshop"
BUILD_STATES = ("pending", "running", "success", "failed", "canceled", "skipped")
STATES = ("running", "success", "failed", "canceled")
STATUS = {"state", "ref", "name", "context", "target_url", "description", "coverage", "pipeline_id"}
DEPLOYMENT = {"environment", "sha", "ref", "tag", "status"}


@dataclass
class FakeGitlab:
    """One project, `acme/team/shop`; `trouble` is what the next requests get after they took effect."""

    statuses: list[dict[str, Any]] = field(default_factory=list)
    deployments: dict[int, dict[str, Any]] = field(default_factory=dict)
    trouble: list[Behaviour | None] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, page: socketserver.StreamRequestHandler, listener: Listener) -> None:
        """Answer a request."""
        try:
            status, body = self._answer(listener.requests[-1])
        except Refused as refusal:
            status, body = refusal.args[0], {"message": refusal.args[1]}
            self.complaints.append(f"{status} {refusal.args[1]}")
        trouble = self.trouble.pop(0) if self.trouble else None
        (trouble or answer(status, json.dumps(body), "Content-Type: application/json"))(page, listener)

    def _answer(self, request: Request) -> tuple[int, Any]:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "401 Unauthorized")
        url = urlsplit(request.path)
        if request.method == "GET" and url.path == f"{PROJECT}/deployments":
            return self._list(dict(parse_qsl(url.query)))
        if match := re.fullmatch(rf"{PROJECT}/deployments/([0-9]+)", url.path):
            need(request.method == "PUT", "method")
            return self._change(int(match[1]), request.json)
        if url.path == f"{PROJECT}/deployments":
            return self._make(body_of(request))
        if match := re.fullmatch(rf"{PROJECT}/statuses/([^/]+)", url.path):
            return self._status(match[1], body_of(request))
        raise Refused(404, "404 Project Not Found")

    def _status(self, commit: str, body: dict[str, Any]) -> tuple[int, Any]:
        need({"state"} <= set(body) <= STATUS, f"keys {sorted(body)}")
        need(body["state"] in BUILD_STATES, "state does not have a valid value")
        need(commit == COMMIT, "Commit Not Found")
        need(len(body.get("description", "")) <= 255, "description is too long (maximum is 255 characters)")
        if self.statuses and self.statuses[-1]["state"] == body["state"]:
            return refused("status", body["state"])
        self.statuses.append(body)
        return 201, {"id": len(self.statuses), "sha": commit, "status": body["state"]}

    def _list(self, asked: dict[str, str]) -> tuple[int, Any]:
        need(set(asked) <= {"environment", "status", "order_by", "sort", "per_page"}, f"query {asked}")
        found = [
            {"id": number, **each}
            for number, each in self.deployments.items()
            if (each["environment"], each["status"]) == (asked["environment"], asked["status"])
        ]
        return 200, found[::-1]

    def _make(self, body: dict[str, Any]) -> tuple[int, Any]:
        need(set(body) == DEPLOYMENT, f"keys {sorted(body)}")
        need(body["status"] in STATES and isinstance(body["tag"], bool), "status or tag does not have a valid value")
        need(not body["ref"].startswith("refs/"), "The branch or tag does not exist")
        # GitLab's words for a commit that is not there are almost those for a status that stands already.
        missing = "Cannot transition status via :run from :created (Reason(s): Sha The commit does not exist)"
        need(body["sha"] == COMMIT, missing)
        number = 40 + len(self.deployments)
        self.deployments[number] = dict(body)
        return 201, {"id": number, "iid": 1, **body}

    def _change(self, number: int, body: dict[str, Any]) -> tuple[int, Any]:
        need(set(body) == {"status"} and body["status"] in STATES, "status does not have a valid value")
        if number not in self.deployments:
            raise Refused(404, "404 Deployment Not Found")
        if self.deployments[number]["status"] != "running" or body["status"] == "running":
            return refused("status", body["status"])
        self.deployments[number]["status"] = body["status"]
        return 200, {"id": number, **self.deployments[number]}


def refused(what: str, wanted: str) -> tuple[int, Any]:
    """Return GitLab's words for a status that stands already."""
    via = {"pending": "enqueue", "running": "run", "success": "succeed", "failed": "drop", "canceled": "cancel"}[wanted]
    reason = f'(Reason(s): {what.title()} cannot transition via "{via}")'
    return 400, {"message": f"Cannot transition {what} via :{via} from :{wanted} {reason}"}


def need(is_so: bool, otherwise: str) -> None:
    """Refuse unless it is so."""
    if not is_so:
        raise Refused(400, otherwise)
