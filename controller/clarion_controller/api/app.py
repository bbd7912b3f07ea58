"""The API's routes, each a few lines: read, ask the controller, show. The table is in `answers`."""

from __future__ import annotations

import time
from typing import Annotated, Any

from litestar import Litestar, Request, get, post
from litestar.di import Provide
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from clarion_controller.api import build_routes
from clarion_controller.api.answers import (
    DeploymentAnswer,
    LogAnswer,
    PlanAnswer,
    PlanRequest,
    StreamAnswer,
)
from clarion_controller.api.desk import Asked, Desk, TheDesk, environments_of
from clarion_controller.api.errors import ANSWERED
from clarion_controller.api.fleet_routes import ROUTES
from clarion_controller.api.listing import MAX_LISTED
from clarion_controller.api.nightly_routes import NIGHTLY
from clarion_controller.api.orders import abort, pause, resume
from clarion_controller.fleet_toml.fleet import unknown
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.streams import document_in
from clarion_protocol.words import stream_of

MAX_BODY = 1 << 20
MAX_WAIT = 30.0


DeploymentId = FromPath[str]
Seconds = Annotated[float, QueryParameter(ge=0, le=MAX_WAIT)]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LISTED)]


@post("/v1/plan", status_code=200)
async def plan(desk: TheDesk, data: JSONBody[PlanRequest]) -> PlanAnswer:
    """Draw a deployment up."""
    return await desk.planner.plan_afresh(data)


@post("/v1/deployments", status_code=200)
async def order(desk: TheDesk, request: Request[Any, Any, Any]) -> DeploymentAnswer:
    """Take a signed deployment on."""
    envelope = await request.body()
    known = desk.log.deployment(document_in(envelope).id)
    if known and known.envelope == envelope:
        return desk.views.deployment(desk.history.state(known.id))  # handed over twice: the first answer got lost
    deployment, selection = desk.planner.take(envelope)
    return desk.views.deployment(desk.rollouts.accept(deployment, envelope, selection).state)


@get("/v1/deployments")
async def deployments(
    desk: TheDesk, environment: Asked = None, app: Asked = None, limit: Limit = 20
) -> list[DeploymentAnswer]:
    """List deployments, newest first, each with how many hosts stand where."""
    return await desk.listing.newest(_streams(desk, environment, app), limit)


@get("/v1/deployments/{deployment_id:str}")
async def deployment(
    desk: TheDesk, deployment_id: DeploymentId, revision: FromQuery[int | None] = None, wait: Seconds = 0.0
) -> DeploymentAnswer:
    """Show one deployment; with `revision` and `wait`, when it has gone beyond that revision."""
    state = desk.history.find(deployment_id)
    ends = time.monotonic() + wait
    while revision is not None and state.revision <= revision and (left := ends - time.monotonic()) > 0:
        await desk.rollouts.wait_for_change(left)
        state = desk.history.state(state.deployment.id)
    return desk.views.deployment(state)


@post("/v1/deployments/{deployment_id:str}/{verb:str}", status_code=200)
async def give_order(
    desk: TheDesk, deployment_id: DeploymentId, verb: FromPath[str], actor: FromQuery[str] = ""
) -> DeploymentAnswer:
    """Abort, pause or resume a deployment."""
    orders = {"abort": abort, "pause": pause, "resume": resume}
    if verb not in orders:
        raise unknown("order", verb, orders, hint="Run 'clarion --help'.")
    state = desk.history.find(deployment_id)
    event = orders[verb](state, actor, time.time())
    walk = desk.rollouts.streams.find(state.deployment.id)
    if walk:
        desk.rollouts.order(walk, event)
    return desk.views.deployment(desk.history.state(state.deployment.id))


@get("/v1/deployments/{deployment_id:str}/logs")
async def logs(desk: TheDesk, deployment_id: DeploymentId, host: Asked = None) -> list[LogAnswer]:
    """Show what hosts reported of each step."""
    state = desk.history.find(deployment_id)
    entries = desk.log.logs(state.deployment.id, _host_id(state, host) if host else None)
    return [desk.views.log(entry) for entry in entries]


@get("/v1/status")
async def status(desk: TheDesk, environment: Asked = None, app: Asked = None) -> list[StreamAnswer]:
    """Show what is wanted and what runs."""
    _streams(desk, environment, app)
    found = [walks for each in environments_of(desk, environment) for walks in desk.rollouts.streams.of(each)]
    answers = [desk.views.stream(walks) for walks in found if app in (None, walks[0].state.deployment.app)]
    return sorted(answers, key=lambda answer: (answer.environment, answer.app))


def create_app(desk: Desk) -> Litestar:
    """Return the API of a controller, to be served on its Unix socket."""

    async def the_desk() -> Desk:
        return desk

    return Litestar(
        [*ROUTES, *build_routes.ROUTES, *NIGHTLY, plan, order, deployments, deployment, give_order, logs, status],
        dependencies={"desk": Provide(the_desk)},
        exception_handlers=ANSWERED,
        openapi_config=None,
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )


def _streams(desk: Desk, environment: str | None, app: str | None) -> list[str]:
    """Return the streams that were asked for.

    Raises:
        UnknownName: there is no such environment or app.
    """
    environments = environments_of(desk, environment)
    streams = [walks[0].state.deployment.stream for each in environments for walks in desk.rollouts.streams.of(each)]
    if app is None:
        return streams
    wanted = {stream_of(each, app) for each in environments}
    if not wanted & set(streams):
        desk.cluster.releases(app)
    return [stream for stream in streams if stream in wanted]


def _host_id(state: RolloutState, name: str) -> str:
    by_name = {host.name: id_ for id_, host in state.hosts.items()}
    if name not in by_name:
        hint = f"Run 'clarion status {state.deployment.app} -e {state.deployment.environment}' to see them."
        raise unknown("host in this deployment", name, by_name, hint=hint)
    return by_name[name]
