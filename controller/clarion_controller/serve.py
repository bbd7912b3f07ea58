"""`clarion serve`: one process, one event loop, until SIGTERM.

1. hold the lock       one controller to a home
2. open the state      migrate, replay
3. bind everything     the API's and the builder's sockets, the packages', gateway's, join and hook ports
4. say READY           only now, when every port answers
5. run                 rollouts, discovery, API, packages, builds, fresh metadata
6. stop                in the opposite order; what hosts send meanwhile they send again
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import structlog
import uvicorn

from clarion_agent.logs import begin_logging
from clarion_agent.net.notify_systemd import Systemd
from clarion_controller.api.app import create_app
from clarion_controller.api.desk import Desk
from clarion_controller.assembly import after_build, assembled
from clarion_controller.builds.ports import Port, build_ports
from clarion_controller.builds.upkeep import look_after, look_after_green
from clarion_controller.cluster import Cluster
from clarion_controller.discover.ask import ask_in_child
from clarion_controller.discover.attempts import Ask
from clarion_controller.impatient_http import ImpatientHttp
from clarion_controller.inbox import Inbox
from clarion_controller.notifying.supervise import keep_notifying
from clarion_controller.package_store.app import PackageStore
from clarion_controller.package_store.bucket import BucketInForce
from clarion_controller.presence import Presence
from clarion_controller.process import only_one, tcp_socket, unix_socket
from clarion_protocol.errors import ClarionError

FRESHEN_INTERVAL = 600.0
SHUTDOWN_GRACE = 5

_log = structlog.get_logger(__name__)


def serve(home: Path, api: Path | None = None) -> None:
    """Run the controller of `home` until SIGTERM or SIGINT; its API listens at `api`.

    Raises:
        NoCluster: there is no cluster in `home`.
        BadConfig: fleet.toml, a key, the database or a port cannot be used.
        Blocked: another controller runs on this home.
    """
    begin_logging()
    asyncio.run(_until_stopped(home, api or home / "run" / "controller.sock"))


async def _until_stopped(home: Path, api: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    systemd = Systemd()
    async with running(home, api) as controller:
        fleet = controller.cluster.fleet
        systemd.ready(f"serving {fleet.cluster.name}: {', '.join(fleet.environment)}")
        _log.info("controller.ready", home=str(home), api=str(api), cluster=controller.cluster.id)
        alive = asyncio.create_task(_say_alive(systemd))
        try:
            await _first(stop, controller)
        finally:
            systemd.stopping()
            alive.cancel()
    _log.info("controller.stopped")


@dataclass(frozen=True)
class Running:
    """A controller that serves: what it is about, and the tasks that must not end."""

    cluster: Cluster
    desk: Desk
    tasks: Sequence[asyncio.Task[None]]


@asynccontextmanager
async def running(home: Path, api: Path, ask: Ask = ask_in_child) -> AsyncIterator[Running]:
    """Have a controller serve within a `with` block; `ask` asks the sources of hosts.

    Raises:
        NoCluster, BadConfig, Blocked: as for `serve`.
    """
    cluster = Cluster.at(home)
    with ExitStack() as stack:
        stack.enter_context(only_one(home))
        at = cluster.at_start
        api_socket = stack.enter_context(unix_socket(api))
        package_socket = stack.enter_context(tcp_socket(at.bind, at.package_port))
        inbox = Inbox()
        desk = stack.enter_context(assembled(cluster, inbox, ask))
        await asyncio.to_thread(_freshen, cluster)
        store = PackageStore(home / "store", BucketInForce(lambda: cluster.fleet.store, home))
        ports = [
            Port("api", create_app(desk), api_socket),
            Port("packages", store, package_socket),
            *stack.enter_context(build_ports(desk.builds)),
        ]
        servers = [_server(port.app) for port in ports]
        presence = Presence(desk.log, desk.roster, desk.rollouts, desk.membership.members, float(at.unreachable_after))
        tasks = [
            asyncio.create_task(desk.rollouts.run(inbox), name="rollouts"),
            asyncio.create_task(presence.run(), name="presence"),
            asyncio.create_task(keep_notifying(home, lambda: cluster.fleet), name="notifying"),
            asyncio.create_task(desk.discovery.run(desk.rollouts.fleet_changed), name="discovery"),
            asyncio.create_task(_keep_fresh(cluster), name="metadata"),
            asyncio.create_task(look_after(desk.builds, desk.log), name="builds"),
            asyncio.create_task(look_after_green(desk.builds, after_build(desk, api)), name="green builds"),
            *(
                asyncio.create_task(server.serve(sockets=[port.listener]), name=port.name)
                for server, port in zip(servers, ports, strict=True)
            ),
        ]
        try:
            await _started(servers, tasks)
            yield Running(cluster, desk, tasks)
        finally:
            await _end(servers, tasks)


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: this process has one way to end, and it is not uvicorn's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _server(app: object) -> _Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        lifespan="off",
        http=ImpatientHttp,
        timeout_graceful_shutdown=SHUTDOWN_GRACE,
    )
    return _Server(config)


async def _started(servers: Sequence[_Server], tasks: Sequence[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers):
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.01)


async def _first(stop: asyncio.Event, controller: Running) -> None:
    """Return when it shall stop; raise what ended a task that must not end."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *controller.tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done:
        task.result()
    if not stop.is_set():
        names = ", ".join(task.get_name() for task in done)
        raise ClarionError(f"a part of the controller ended by itself: {names}", hint="Its log above may say why.")


async def _end(servers: Sequence[_Server], tasks: Sequence[asyncio.Task[None]]) -> None:
    for server in servers:
        server.should_exit = True
    for task in tasks:
        if task.get_name() in ("rollouts", "presence", "notifying", "discovery", "metadata", "builds", "green builds"):
            task.cancel()
    await asyncio.wait(tasks, timeout=2 * SHUTDOWN_GRACE)


async def _keep_fresh(cluster: Cluster) -> None:
    """Sign metadata again before agents refuse it as too old."""
    while True:
        await asyncio.sleep(FRESHEN_INTERVAL)
        await asyncio.to_thread(_freshen, cluster)


def _freshen(cluster: Cluster) -> None:
    try:
        freshness = cluster.repository.freshen(datetime.now(timezone.utc).replace(microsecond=0))
    except ClarionError as error:
        # A publish that holds the lock, a key that is broken: neither may end a controller that leads rollouts.
        _log.error("metadata.not_renewed", reason=error.message, hint=error.hint)
        return
    if freshness.renewed:
        _log.info("metadata.renewed", roles=freshness.renewed)
    for role, expires in freshness.needs_key.items():
        _log.warning("metadata.needs_offline_key", role=role, expires=expires.isoformat())


async def _say_alive(systemd: Systemd) -> None:
    while systemd.watchdog:
        systemd.alive("serving")
        await asyncio.sleep(systemd.watchdog / 3)
