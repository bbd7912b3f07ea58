"""The builder's desk: the routes of `<home>/run/builder/sock`, and nothing else is reached through it.

======  ===================================  ===========  ====================================================
method  path                                 body         answer
======  ===================================  ===========  ====================================================
POST    /v1/builder/take?wait=                            a Job; 204 if there is none within `wait` s (most 30)
POST    /v1/builder/builds/{id}/log          bytes        {"go_on": false} if nobody wants the build any more
PUT     /v1/builder/builds/{id}/package      the archive  204
PUT     /v1/builder/builds/{id}/manifest     its manifest 204
POST    /v1/builder/builds/{id}/finished     Finished     204, also if nobody wanted it any more
POST    /v1/builder/builds/{id}/given_back                204; the builder is being stopped, and another begins it anew
======  ===================================  ===========  ====================================================

`{id}` is `Job.id`, and 404 for every other: a builder speaks of what it took, of nothing else. An empty `log` says
that it is still alive, which it has to say every minute. A log may be sent in pieces of 1 MiB. 409: nobody wants the
package any more. Failures are `ErrorAnswer`s, as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Litestar, Request, Response, post, put
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter

from clarion_controller.api.errors import ANSWERED
from clarion_controller.builds import log_file
from clarion_controller.builds.build import Build, BuildStatus, Finished, Job, write_job
from clarion_controller.builds.builds import HANDED_MANIFEST, HANDED_PACKAGE, Builds
from clarion_controller.builds.upload import keep
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.errors import Blocked, ClarionError, UnknownName
from clarion_protocol.published import MAX_MANIFEST_FILE_BYTES
from clarion_protocol.words import is_version

MAX_WAIT = 30.0
MAX_BODY = 2**20
# Once a builder has said how it ended, the log is the controller's, who writes there what it published and deployed.
HEARD = (BuildStatus.RUNNING, BuildStatus.CANCELLED, BuildStatus.SUPERSEDED)
ID_LENGTH = 32  # hex digits of a build's id; what follows is the taker's own

TheBuilds = NamedDependency[Builds]
JobId = FromPath[str]
Seconds = Annotated[float, QueryParameter(ge=0, le=MAX_WAIT)]
_Request = Request[Any, Any, Any]

_log = structlog.get_logger(__name__)


@post("/v1/builder/take", status_code=200)
async def take(builds: TheBuilds, request: _Request, wait: Seconds = 0.0) -> Response[bytes | None]:
    """Give the builder what waits longest, as soon as something does."""
    await request.body()
    builds.builder_seen = time.time()
    gone = asyncio.create_task(_gone(request))
    ends = time.monotonic() + wait
    try:
        while not (gone.done() or builds.is_ending):
            changed = builds.changed
            if job := await _next_job(builds):
                return Response(write_job(job), media_type="application/json")
            waiting = asyncio.create_task(changed.wait())
            await asyncio.wait([gone, waiting], timeout=ends - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if time.monotonic() >= ends:
                break
    finally:
        gone.cancel()
    return Response(None, status_code=204)


@post("/v1/builder/builds/{job_id:str}/log", status_code=200)
async def log(builds: TheBuilds, request: _Request, job_id: JobId) -> dict[str, bool]:
    """Keep what a build wrote, and say whether it shall go on."""
    said = await request.body()
    builds.builder_seen = time.time()
    build = await _taken(builds, job_id)
    if build.status in HEARD:
        await builds.do(lambda: log_file.append(builds.folder(build), said))
    return {"go_on": build.status is BuildStatus.RUNNING}


@put("/v1/builder/builds/{job_id:str}/package", status_code=204, request_max_body_size=None)
async def package(builds: TheBuilds, request: _Request, job_id: JobId) -> None:
    """Keep the archive of a green build; it may be as large as all that the build may write."""
    build = await _running(builds, job_id)
    await _keep(builds, request, job_id, HANDED_PACKAGE, _repository(builds, build).disk)


@put("/v1/builder/builds/{job_id:str}/manifest", status_code=204, request_max_body_size=None)
async def manifest(builds: TheBuilds, request: _Request, job_id: JobId) -> None:
    """Keep the manifest of a green build."""
    await _keep(builds, request, job_id, HANDED_MANIFEST, MAX_MANIFEST_FILE_BYTES)


@post("/v1/builder/builds/{job_id:str}/finished", status_code=204)
async def finished(builds: TheBuilds, data: JSONBody[Finished], job_id: JobId) -> None:
    """Hear how a build ended: what is red is over, what is green is to be published."""
    build = await _taken(builds, job_id)
    failure = data.failure or _what_is_missing(builds, build, data.version)
    status = BuildStatus.FAILED if failure else BuildStatus.PUBLISHING
    taken_as = job_id[ID_LENGTH:]
    version = data.version if is_version(data.version) else ""
    await builds.change(lambda: builds.queue.finish(build.id, taken_as, status, reason=failure, version=version))


@post("/v1/builder/builds/{job_id:str}/given_back", status_code=204)
async def given_back(builds: TheBuilds, request: _Request, job_id: JobId) -> None:
    """Let the next builder have a build at once."""
    await request.body()
    build = await _taken(builds, job_id)
    await builds.change(lambda: builds.queue.give_back(build.id, job_id[ID_LENGTH:]))


def create_builder_app(builds: Builds) -> Litestar:
    """Return the builder's desk, to be served on its own Unix socket."""

    async def the_builds() -> Builds:
        return builds

    return Litestar(
        [take, log, package, manifest, finished, given_back],
        dependencies={"builds": Provide(the_builds)},
        exception_handlers=ANSWERED,
        openapi_config=None,
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )


async def _next_job(builds: Builds) -> Job | None:
    while taken := await builds.do(builds.queue.take):
        builds.wake()
        if job := await _job_or_none(builds, *taken):
            return job
    return None


async def _job_or_none(builds: Builds, build: Build, taken_as: str) -> Job | None:
    """Return the job; a build that cannot begin, for what fleet.toml says of it now, is over."""
    try:
        return await builds.do(lambda: _job(builds, build, taken_as))
    except ClarionError as error:
        reason = error.message
        _log.warning("build.cannot_begin", build=build.id, reason=reason, hint=error.hint)
        await builds.change(lambda: builds.queue.finish(build.id, taken_as, BuildStatus.FAILED, reason=reason))
    return None


def _job(builds: Builds, build: Build, taken_as: str) -> Job:
    repository = _repository(builds, build)
    credential = repository.credential.reveal(builds.cluster.home) if repository.credential else ""
    return Job(
        id=build.id + taken_as,
        app=build.app,
        ref=build.ref,
        commit=build.commit,
        # Where other secrets are is no business of a builder's.
        repository=msgspec.structs.replace(repository, secret=None, token=None, credential=None),
        credential=credential,
    )


def _repository(builds: Builds, build: Build) -> Repository:
    found = builds.cluster.fleet.repository.get(build.repository)
    if found is None:
        raise UnknownName(f"fleet.toml has no [repository.{build.repository}] any more", hint="Run 'clarion validate'.")
    return found


async def _taken(builds: Builds, job_id: str) -> Build:
    return await builds.do(lambda: builds.queue.taken(job_id[:ID_LENGTH], job_id[ID_LENGTH:]))


async def _running(builds: Builds, job_id: str) -> Build:
    build = await _taken(builds, job_id)
    if build.status is not BuildStatus.RUNNING:
        raise Blocked(f"build {build.id[:8]} is {build.status.value}: nobody waits for it", hint=build.reason)
    return build


async def _keep(builds: Builds, request: _Request, job_id: str, name: str, most: int) -> None:
    build = await _running(builds, job_id)
    path = builds.folder(build) / name
    await keep(request.stream(), path, most, builds.do)
    if (await _taken(builds, job_id)).status is not BuildStatus.RUNNING:
        path.unlink(missing_ok=True)  # it came too late, and would lie there for nothing


def _what_is_missing(builds: Builds, build: Build, version: str) -> str:
    if not is_version(version):
        return f"the builder says that it made version {version[:80]!r}, which is none"
    names = {"package": HANDED_PACKAGE, "manifest": HANDED_MANIFEST}
    missing = [what for what, name in names.items() if not (builds.folder(build) / name).exists()]
    return f"the builder handed over no {' and no '.join(missing)}" if missing else ""


async def _gone(request: _Request) -> None:
    """Return when the builder has hung up: a job that is given to nobody would wait for minutes."""
    with contextlib.suppress(asyncio.CancelledError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
