"""A plan that may be signed: drawn up by the controller, and checked by whoever asked for it."""

from __future__ import annotations

import time

import msgspec

from clarion_controller.api.answers import PlanAnswer, PlanRequest
from clarion_controller.client.calls import Controller
from clarion_controller.client.check_plan import Question, check_plan


def plan(controller: Controller, request: PlanRequest, overrides: dict[str, object]) -> PlanAnswer:
    """Return the plan for `request`, checked; `overrides` replace settings of fleet.toml's strategy.

    Raises:
        ClarionError: the controller refuses, or drew up something else than was asked.
    """
    answer = controller.plan(request)
    if overrides:
        request = msgspec.structs.replace(request, plan=msgspec.structs.replace(answer.deployment.plan, **overrides))
        answer = controller.plan(request)
    check_plan(Question(request, controller.hosts(request.environment), time.time()), answer)
    return answer
