"""Which hosts there should be, as of the last answers that were believed: the cache, and the loop that keeps it fresh.

- Lists in fleet.toml count as they stand there now. Every other source is asked each `discover_every`, in a child
  process, at most `MAX_CHILDREN` at once.
- What is believed of an answer is for `discover.judge` to say; it is kept in `<home>/state/discovered/`.
- An edit of fleet.toml counts at once: a new or changed source starts afresh, one that is gone is forgotten.
  While the file is broken, what it said before goes on counting, and every source shows the trouble.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import structlog

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.discover.ask import ask_in_child
from clarion_controller.discover.judge import Answer, Belief, accept, doubt, hear
from clarion_controller.discover.keep import Keeper, key_of
from clarion_controller.discover.static import StaticDiscoverer
from clarion_controller.discovered import Discovered
from clarion_controller.fleet import Environment, Fleet, HostSource
from clarion_protocol.errors import BadConfig, Blocked, ClarionError, CloudUnavailable

Ask = Callable[[HostSource, Path], Awaitable[list[Discovered]]]

MAX_CHILDREN = 2
POKE_INTERVAL = 5.0
TICK = 0.5
KEEP_INTERVAL = 600.0
JITTER = (0.9, 1.1)  # so that sources which were once asked together are not for ever

_log = structlog.get_logger(__name__)


@dataclass
class _Asked:
    """One source of one environment, between two attempts to ask it."""

    config: HostSource
    belief: Belief = field(default_factory=Belief)
    tried_at: float | None = None
    poked_at: float | None = None
    jitter: float = 1.0
    attempt: asyncio.Task[None] | None = None

    @property
    def is_being_asked(self) -> bool:
        return self.attempt is not None and not self.attempt.done()

    @property
    def is_poked(self) -> bool:
        """Whether something has happened since that its last answer cannot know of."""
        return self.poked_at is not None and (self.tried_at is None or self.poked_at >= self.tried_at)

    def is_older(self, age: float, now: float) -> bool:
        """Whether it was last tried at least `age` seconds ago, or at a time that a clock set back has not reached."""
        return self.tried_at is None or not 0 <= now - self.tried_at < age


class Discovery:
    """What is known of the hosts of every environment.

    Raises:
        BadConfig: fleet.toml does not fit.
    """

    def __init__(self, cluster: Cluster, ask: Ask = ask_in_child, clock: Callable[[], float] = time.time) -> None:
        self._cluster, self._ask, self._clock = cluster, ask, clock
        self._keeper = Keeper(cluster.home / "state" / "discovered")
        self._fleet = cluster.fleet
        self._broken: BadConfig | None = None
        self._asked: dict[str, dict[str, _Asked]] = {}
        self._kept_at: dict[str, float] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_CHILDREN)

    def known(self, environment: str) -> list[Discovered] | None:
        """Return the hosts that there should be, in a stable order; None where every enrolled host is meant.

        A source that never answered adds none to them; `sources` says which.

        Raises:
            UnknownName: no such environment.
        """
        configured = self._environment(environment).hosts
        if not configured:
            return None
        asked = self._sources(environment)
        return [host for config in configured for host in _hosts_of(config, asked)]

    def sources(self, environment: str) -> list[SourceAnswer]:
        """Return how each source of an environment is, in the order of fleet.toml.

        Raises:
            UnknownName: no such environment.
        """
        asked = self._sources(environment)
        return [self._answer(environment, config, asked) for config in self._environment(environment).hosts]

    async def refresh(self, environment: str, *, younger_than: float = 0.0) -> None:
        """Ask every source that was last tried longer ago than that, and wait; one that is being asked is shared.

        Raises:
            UnknownName: no such environment. A source's own trouble is kept to be shown.
        """
        now = self._clock()
        sources = self._sources(environment).items()
        attempts = [
            self._attempt(environment, key)
            for key, source in sources
            if source.is_being_asked or source.is_older(younger_than, now)
        ]
        if attempts:
            await asyncio.wait(attempts)

    def accept_shrink(self, environment: str) -> None:
        """Believe what the sources of an environment offer."""
        for source in self._sources(environment).values():
            if source.belief.offered:
                _log.warning("discovery.shrink_accepted", environment=environment, source=source.config.label)
                source.belief = accept(source.belief)
        self._keep(environment)

    def poke(self, environment: str) -> None:
        """Ask again soon, but at most every `POKE_INTERVAL`: a host came that no source lists yet."""
        for source in self._sources(environment).values():
            source.poked_at = self._clock()

    async def run(self, changed: Callable[[str], None]) -> None:
        """Ask all sources, each in its time, for ever.

        `changed` is called for an environment when something else is believed of it than when it was called last,
        and at the start; never while one of its sources has not answered once, for hosts that are not known yet
        are not gone.
        """
        told: dict[str, list[Discovered] | None] = {}
        try:
            while True:
                for environment in self._environments():
                    self._ask_due(environment)
                    known = self.known(environment)
                    if self._is_whole(environment) and (environment not in told or told[environment] != known):
                        told[environment] = known
                        changed(environment)
                await asyncio.sleep(TICK)
        finally:
            await self._stop()

    def _current(self) -> Fleet:
        try:
            self._fleet, self._broken = self._cluster.fleet, None
        except BadConfig as error:
            self._broken = error
        return self._fleet

    def _environment(self, name: str) -> Environment:
        return self._current().in_environment(name)

    def _environments(self) -> list[str]:
        names = list(self._current().environment)
        if self._asked.keys() - set(names) or not self._asked:
            self._asked = {name: sources for name, sources in self._asked.items() if name in names}
            self._keeper.forget_all_but(names)
        return names

    def _sources(self, environment: str) -> dict[str, _Asked]:
        """Return the sources of an environment that have to be asked, as fleet.toml says now."""
        configured = {
            key_of(config): config for config in self._environment(environment).hosts if config.static is None
        }
        held = self._asked.get(environment)
        if held is None:
            kept = self._keeper.read(environment)
            held = {key: _Asked(config, Belief(kept.get(key))) for key, config in configured.items()}
            self._asked[environment] = held
        elif held.keys() != configured.keys():
            held = {key: held.get(key) or _Asked(config) for key, config in configured.items()}
            self._asked[environment] = held
            self._keep(environment)
        return held

    def _is_whole(self, environment: str) -> bool:
        return all(source.belief.believed for source in self._sources(environment).values())

    def _answer(self, environment: str, config: HostSource, asked: Mapping[str, _Asked]) -> SourceAnswer:
        source = asked.get(key_of(config))
        belief = source.belief if source else Belief(Answer(tuple(_hosts_of(config, asked)), self._clock()))
        trouble = self._broken or belief.trouble
        return SourceAnswer(
            environment=environment,
            source=config.label,
            hosts=len(belief.hosts),
            answered_at=belief.believed.at if belief.believed else None,
            trouble=trouble.message if trouble else "",
            hint=(trouble.hint or "") if trouble else "",
            offered=len(belief.offered.hosts) if belief.offered else None,
        )

    def _ask_due(self, environment: str) -> None:
        now = self._clock()
        every = self._environment(environment).discover_every
        for key, source in self._sources(environment).items():
            if source.is_older(POKE_INTERVAL if source.is_poked else every * source.jitter, now):
                self._attempt(environment, key)

    def _attempt(self, environment: str, key: str) -> asyncio.Task[None]:
        source = self._asked[environment][key]
        if source.attempt is None or source.attempt.done():
            source.tried_at, source.jitter = self._clock(), random.uniform(*JITTER)  # noqa: S311 (no secret)
            source.attempt = asyncio.create_task(self._ask_once(environment, source))
            self._attempts.add(source.attempt)
            source.attempt.add_done_callback(self._attempts.discard)
        return source.attempt

    async def _ask_once(self, environment: str, source: _Asked) -> None:
        try:
            async with self._turns:
                hosts = await self._ask(source.config, self._cluster.home)
        except ClarionError as error:
            self._failed(environment, source, error)
        except Exception:  # noqa: BLE001 (the outermost: a bug about one source must neither hide nor stop the others)
            _log.exception("discovery.bug", environment=environment, source=source.config.label)
            self._failed(environment, source, CloudUnavailable("it could not be asked; the controller's log says why"))
        else:
            self._heard(environment, source, Answer(tuple(hosts), self._clock()))

    def _failed(self, environment: str, source: _Asked, error: ClarionError) -> None:
        before, source.belief = source.belief.trouble, doubt(source.belief, error)
        if before is None or before.message != error.message:
            _log.warning(
                "discovery.trouble",
                environment=environment,
                source=source.config.label,
                code=error.code,
                reason=error.message,
                hint=error.hint,
            )

    def _heard(self, environment: str, source: _Asked, answer: Answer) -> None:
        configured = self._current().environment.get(environment)
        if configured is None:
            return
        before, source.belief = source.belief, hear(source.belief, answer, configured.max_shrink)
        if source.belief.offered and not before.offered:
            _log.warning(
                "discovery.shrunk",
                environment=environment,
                source=source.config.label,
                listed=len(before.hosts),
                lists=len(answer.hosts),
            )
        kept_for = self._clock() - self._kept_at.get(environment, 0.0)
        if source.belief.hosts is not before.hosts or kept_for > KEEP_INTERVAL:
            self._keep(environment)

    def _keep(self, environment: str) -> None:
        sources = self._asked.get(environment, {}).items()
        self._keeper.write(environment, {key: each.belief.believed for key, each in sources if each.belief.believed})
        self._kept_at[environment] = self._clock()

    async def _stop(self) -> None:
        for attempt in self._attempts:
            attempt.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts)


def check_known(sources: Sequence[SourceAnswer], *, accept_shrink: bool) -> None:
    """Return if it is known which hosts there should be; with `accept_shrink`, if it ever was.

    Raises:
        Blocked: a source does not answer, or lists far fewer hosts than before.
    """
    doubts = {source: doubt for source in sources if (doubt := _doubt_of(source, accept_shrink=accept_shrink))}
    if not doubts:
        return
    hints = [source.hint for source in doubts if source.hint]
    environment = sources[0].environment
    look = f"Look with 'clarion hosts -e {environment}'; to go on with what is known, add --accept-shrink."
    raise Blocked("; ".join(doubts.values()), hint=" ".join([*dict.fromkeys(hints), look]))


def _doubt_of(source: SourceAnswer, *, accept_shrink: bool) -> str | None:
    if source.answered_at is None:
        return f"{source.source} has never answered{': ' if source.trouble else ''}{source.trouble}"
    if accept_shrink:
        return None
    until = f"{datetime.fromtimestamp(source.answered_at, timezone.utc):%Y-%m-%d %H:%M} UTC"
    if source.trouble:
        return f"{source.source} has not answered since {until}: {source.trouble}"
    if source.offered is None:
        return None
    if source.offered < source.hosts:
        return f"{source.source} lists {source.offered} hosts where it listed {source.hosts} before (until {until})"
    return f"{source.source} lists {source.offered} hosts, but too few of the {source.hosts} before (until {until})"


def _hosts_of(config: HostSource, asked: Mapping[str, _Asked]) -> Sequence[Discovered]:
    if config.static is not None:
        return StaticDiscoverer(config.static).hosts()
    return asked[key_of(config)].belief.hosts
