"""GitLab: commit statuses, and deployments (docs.gitlab.com/api/commits, /api/deployments).

GitLab refuses to be told the same twice, and a second end ("Status cannot transition via ..."): then it knows already.
It has no place for our id: what is running there for the same commit and environment is taken for ours, should an
answer be lost.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from clarion_controller.forges.call import Api, Numbered, read
from clarion_controller.forges.report import ForgeReport, Outcome
from clarion_controller.notifiers.post import Answer
from clarion_controller.notifiers.text import line

CONTEXT = "clarion/build"
DESCRIPTION = 255
_TAG = "refs/tags/"
_KNOWN = b"Status cannot transition via"  # not merely "Cannot transition status", which also means "no such commit"
_STATES = {
    Outcome.PENDING: "running",
    Outcome.SUCCESS: "success",
    Outcome.FAILURE: "failed",
    Outcome.ERROR: "canceled",
}


class _Deployment(Numbered, frozen=True):
    sha: str


class GitlabForge:
    """One project on GitLab."""

    def __init__(self, api: str, slug: str, token: str) -> None:
        self._api = Api(api, token)
        self._project = f"/projects/{quote(slug, safe='')}"

    def tell(self, report: ForgeReport, remembered: str) -> str:
        """Tell it, and return GitLab's number of the deployment.

        Raises:
            Undelivered: it did not arrive.
        """
        if not report.environment:
            status = {"state": _STATES[report.outcome], "name": CONTEXT, **_ref(report)}
            status["description"] = line(report.description, DESCRIPTION)
            self._tell("POST", f"/statuses/{quote(report.commit, safe='')}", status)
            return remembered
        number = remembered or self._find(report)
        if not number:
            return self._make(report)
        self._tell("PUT", f"/deployments/{quote(number, safe='')}", {"status": _STATES[report.outcome]})
        return number

    def _find(self, report: ForgeReport) -> str:
        asked = {"environment": report.environment, "status": "running", "order_by": "id", "sort": "desc"}
        answer = self._api.ask("GET", f"{self._project}/deployments?{urlencode({**asked, 'per_page': 5})}")
        found = read(answer, list[_Deployment])
        return next((str(each.id) for each in found if each.sha == report.commit), "")

    def _make(self, report: ForgeReport) -> str:
        wanted = {
            "environment": report.environment,
            "sha": report.commit,
            "ref": _ref(report).get("ref", report.commit),
            "tag": report.ref.startswith(_TAG),
            "status": _STATES[report.outcome],
        }
        return str(read(self._tell("POST", "/deployments", wanted), Numbered).id)

    def _tell(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        answer = self._api.ask(method, self._project + path, body)
        if not answer.is_success and not (answer.status == 400 and _KNOWN in answer.body):
            raise answer.refusal()
        return answer


def _ref(report: ForgeReport) -> dict[str, str]:
    """Return the branch or tag as GitLab calls it, if there is one."""
    name = report.ref.removeprefix("refs/heads/").removeprefix(_TAG)
    return {"ref": name} if name else {}
