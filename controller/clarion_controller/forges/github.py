"""GitHub: commit statuses, and the Deployments API (docs.github.com/rest/commits/statuses, /rest/deployments).

A deployment there carries our id in its payload: should the answer to making it be lost, the next try finds it.
GitHub itself marks what ran before in the environment as inactive when a deployment succeeds.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote, urlencode

from clarion_controller.forges.call import Api, Numbered, read
from clarion_controller.forges.report import ForgeReport, Outcome
from clarion_controller.notice import Undelivered
from clarion_controller.notifiers.post import Answer
from clarion_controller.notifiers.text import line

CONTEXT = "clarion/build"
DESCRIPTION = 140
_TASK = "deploy"
_STATES = {Outcome.PENDING: "in_progress"}


class _Deployment(Numbered, frozen=True):
    payload: Any = None


class GithubForge:
    """One repository on GitHub."""

    def __init__(self, api: str, slug: str, token: str) -> None:
        self._api = Api(api, token, accept="application/vnd.github+json")
        self._repository = f"/repos/{quote(slug)}"

    def tell(self, report: ForgeReport, remembered: str) -> str:
        """Tell it, and return GitHub's number of the deployment.

        Raises:
            Undelivered: it did not arrive.
        """
        description = line(report.description, DESCRIPTION)
        if not report.environment:
            status = {"state": report.outcome.value, "context": CONTEXT, "description": description}
            self._post(f"/statuses/{quote(report.commit, safe='')}", status)
            return remembered
        number = remembered or self._find(report) or self._make(report)
        state = _STATES.get(report.outcome, report.outcome.value)
        self._post(f"/deployments/{quote(number, safe='')}/statuses", {"state": state, "description": description})
        return number

    def _find(self, report: ForgeReport) -> str:
        asked = urlencode({"sha": report.commit, "environment": report.environment, "task": _TASK, "per_page": 10})
        answer = self._api.ask("GET", f"{self._repository}/deployments?{asked}")
        found = read(_unless_limited(answer), list[_Deployment])
        return next((str(each.id) for each in found if each.payload == _payload(report)), "")

    def _make(self, report: ForgeReport) -> str:
        wanted = {
            "ref": report.commit,
            "task": _TASK,
            "auto_merge": False,
            "required_contexts": [],
            "payload": _payload(report),
            "environment": report.environment,
            "description": line(report.description, DESCRIPTION),
        }
        return str(read(self._post("/deployments", wanted), Numbered).id)

    def _post(self, path: str, body: dict[str, Any]) -> Answer:
        answer = _unless_limited(self._api.ask("POST", self._repository + path, body))
        if not answer.is_success:
            raise answer.refusal()
        return answer


def _payload(report: ForgeReport) -> dict[str, str]:
    return {"clarion": report.deployment}


def _unless_limited(answer: Answer) -> Answer:
    """Return the answer, unless it is a 403 that only means "too often": then GitHub says until when.

    Raises:
        Undelivered: it is.
    """
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.status in (403, 429) and answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        wait = max(float(reset[:12]) - time.time(), 0.0)
        raise Undelivered(f"{answer.host} was asked too often", retry_after=answer.retry_after or wait)
    return answer
