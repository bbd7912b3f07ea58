"""The routes about builds: which there are, what each wrote, starting one by hand, cancelling one."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import time
from typing import Annotated

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from clarion_controller.api.answers import BuilderAnswer, BuildLogAnswer, BuildRequest
from clarion_controller.api.desk import Asked, Desk, TheDesk
from clarion_controller.builds import log_file
from clarion_controller.builds.build import Build, Push
from clarion_controller.builds.look_up import look_up
from clarion_controller.fleet_toml.fleet import unknown
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.words import new_id

MAX_WAIT = 30.0
MAX_LISTED = 1000
LOOK_EVERY = 0.5  # seconds between two looks at a log that somebody follows

BuildId = FromPath[str]
Seconds = Annotated[float, QueryParameter(ge=0, le=MAX_WAIT)]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LISTED)]
Offset = Annotated[int, QueryParameter(ge=0)]


@get("/v1/builds")
async def builds(desk: TheDesk, repository: Asked = None, limit: Limit = 20) -> list[Build]:
    """List builds, newest first."""
    found = await desk.builds.do(lambda: desk.builds.queue.newest(repository, limit))
    if repository and not found:
        _check_repository(desk, repository)
    return found


@get("/v1/builder")
async def builder(desk: TheDesk) -> BuilderAnswer:
    """Say when a builder was last heard from."""
    return BuilderAnswer(desk.builds.builder_seen)


@get("/v1/builds/{build_id:str}")
async def build(desk: TheDesk, build_id: BuildId) -> Build:
    """Show one build."""
    return await desk.builds.do(lambda: desk.builds.queue.find(build_id))


@get("/v1/builds/{build_id:str}/log")
async def log(desk: TheDesk, build_id: BuildId, offset: Offset = 0, wait: Seconds = 0.0) -> BuildLogAnswer:
    """Show what a build wrote from `offset` on; with `wait`, when there is something or the build is over."""
    ends = time.monotonic() + wait
    while True:
        answer = await desk.builds.do(lambda: _read(desk, build_id, offset))
        left = ends - time.monotonic()
        if answer.text or answer.is_over or left <= 0:
            return answer
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(desk.builds.changed.wait(), min(left, LOOK_EVERY))


@post("/v1/builds", status_code=200)
async def start(desk: TheDesk, data: JSONBody[BuildRequest]) -> Build:
    """Build a branch or tag because somebody says so."""
    repository = _check_repository(desk, data.repository)
    home, own = desk.cluster.home, desk.builds
    credential = repository.credential.reveal(home) if repository.credential else ""
    # Not by the threads of the builds: remotes that say nothing would hold up every push that is announced.
    ref, commit = await asyncio.to_thread(look_up, repository, data.ref, credential)
    push = Push(
        repository=data.repository,
        ref=ref,
        commit=commit,
        delivery=f"by-hand {new_id()}",
        by=data.actor,
        at=time.time(),
        is_looked_up=True,
    )
    await own.change(lambda: own.queue.push(push, own.app_of(data.repository)))
    return await own.do(lambda: own.queue.of_push(push))


@post("/v1/builds/{build_id:str}/cancel", status_code=200)
async def cancel(desk: TheDesk, build_id: BuildId, actor: FromQuery[str] = "") -> Build:
    """Cancel a build that waits or runs, or the deployment of one that waits to be deployed."""
    found = await desk.builds.do(lambda: desk.builds.queue.find(build_id))
    return await desk.builds.change(lambda: desk.builds.cancel(found.id, actor))


ROUTES = [builds, builder, build, log, start, cancel]


def _check_repository(desk: Desk, name: str) -> Repository:
    """Return the repository of that name.

    Raises:
        UnknownName: fleet.toml has none.
    """
    known = desk.cluster.fleet.repository
    if name not in known:
        raise unknown("repository", name, known, hint=f"Add [repository.{name}] to fleet.toml.")
    return known[name]


def _read(desk: Desk, build_id: str, offset: int) -> BuildLogAnswer:
    found = desk.builds.queue.find(build_id)
    words = log_file.read(desk.builds.folder(found), offset)
    is_over = found.status.is_final and not words.text
    # A letter of several bytes, of which the last are still to come, is left for the next answer.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(words.text, final=found.status.is_final)
    pending = len(decoder.getstate()[0])
    return BuildLogAnswer(text=text, next_offset=words.next_offset - pending, left_out=words.left_out, is_over=is_over)
