"""Which hosts there should be, as of the last answers that were believed: the cache, and the loop that keeps it fresh.

- Lists in fleet.toml count as they stand there now. Every other source is asked each `discover_every`, in a child
  process, few at a time.
- What is believed of an answer is for `discover/judge.py` to say; it is kept in `<home>/state/discovered/`.
- An edit of fleet.toml counts at once: a new or changed source starts afresh, one that is gone is forgotten.
  While the file is broken, what it said before goes on counting, and every source shows the trouble.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from clarion_controller.api.answers import SourceAnswer
from clarion_controller.cluster import Cluster
from clarion_controller.discover.ask import ask_in_child
from clarion_controller.discover.asked import Asked, answer_of
from clarion_controller.discover.attempts import Ask, Attempts
from clarion_controller.discover.discovered import Discovered
from clarion_controller.discover.judge import Answer, Belief
from clarion_controller.discover.keep import Keeper, key_of
from clarion_controller.discover.static import StaticDiscoverer
from clarion_controller.fleet_toml.fleet import Environment, Fleet, HostSource
from clarion_protocol.errors import BadConfig, Blocked, UnknownName

TICK = 0.5
KEEP_INTERVAL = 600.0
REPAIR = "Run 'clarion validate'."

Sources = dict[str, Asked]
Told = dict[str, tuple[bool, list[Discovered] | None]]


class Discovery:
    """What is known of the hosts of every environment.

    Raises:
        BadConfig: fleet.toml does not fit.
    """

    def __init__(self, cluster: Cluster, ask: Ask = ask_in_child, clock: Callable[[], float] = time.time) -> None:
        self._cluster, self._clock = cluster, clock
        self._keeper = Keeper(cluster.home / "state" / "discovered")
        self._attempts = Attempts(ask, cluster.home, self._heard)
        self._fleet = cluster.fleet
        self._broken: BadConfig | None = None
        self._sources: dict[str, Sources] = {}
        self._kept_at: dict[str, float] = {}

    def known(self, environment: str) -> list[Discovered] | None:
        """Return the hosts that there should be, in a stable order; None where every enrolled host is meant.

        A source that has never answered adds none to them; `sources` says which.

        Raises:
            UnknownName: no such environment.
        """
        if not self._environment(environment).hosts:
            return None
        return [host for _, belief in self._beliefs(environment) for host in belief.hosts]

    def sources(self, environment: str) -> list[SourceAnswer]:
        """Return how each source of an environment is, in the order of fleet.toml.

        Raises:
            UnknownName: no such environment.
        """
        beliefs = self._beliefs(environment)
        if self._broken:
            beliefs = [(config, replace(belief, trouble=self._broken)) for config, belief in beliefs]
        return [answer_of(environment, config, belief) for config, belief in beliefs]

    async def refresh(self, environment: str, *, younger_than: float = 0.0) -> None:
        """Ask every source whose last attempt is older than that, and wait; an attempt under way is shared.

        Raises:
            UnknownName: no such environment. A source's own trouble is kept to be shown.
        """
        now = self._clock()
        asked = self._asked(environment).values()
        older = [source for source in asked if source.is_being_asked or source.is_older(younger_than, now)]
        if older:
            # wait, not gather: who gives up waiting does not end the attempt for the others.
            await asyncio.wait([self._attempts.begin(source, now) for source in older])

    def accept_shrink(self, environment: str) -> None:
        """Believe what the sources of an environment offer.

        Raises:
            UnknownName: no such environment.
        """
        offering = [source for source in self._asked(environment).values() if source.belief.offered]
        for source in offering:
            source.accept()
        if offering:
            self._keep(environment)

    def poke(self, environment: str) -> None:
        """Ask again soon, though not too often: a host came that no source lists yet.

        Raises:
            UnknownName: no such environment.
        """
        for source in self._asked(environment).values():
            source.poked_at = self._clock()

    async def run(self, changed: Callable[[str], None]) -> None:
        """Ask all sources, each in its time, for ever.

        `changed` is called with an environment at the start, and whenever something else is believed of it than when
        it was called last, or all its sources have answered that had not.
        """
        told: Told = {}
        self._keeper.remove_partial_files()
        try:
            while True:
                self._forget_others()
                for environment in self._current().environment:
                    if self._ask_and_look(environment, told):
                        changed(environment)
                await asyncio.sleep(TICK)
        finally:
            await self._attempts.stop()

    def _ask_and_look(self, environment: str, told: Told) -> bool:
        """Begin to ask what is due; return whether there is something new to tell."""
        try:
            self._ask_due(environment)
            known = self.known(environment)
        except UnknownName:  # it was removed just now
            return False
        has_answered = all(source.belief.believed for source in self._sources[environment].values())
        if environment in told and told[environment] == (has_answered, known):
            return False
        told[environment] = (has_answered, known)
        return True

    def _current(self) -> Fleet:
        try:
            self._fleet, self._broken = self._cluster.fleet, None
        except BadConfig as error:
            self._broken = BadConfig(error.message, hint=REPAIR)
        return self._fleet

    def _environment(self, name: str) -> Environment:
        return self._current().in_environment(name)

    def _asked(self, environment: str) -> Sources:
        """Return those sources of an environment that have to be asked, as fleet.toml says now."""
        configured = {
            key_of(config): config for config in self._environment(environment).hosts if _has_to_be_asked(config)
        }
        held = self._sources.get(environment)
        if held is None:
            kept = self._keeper.read(environment)
            held = {key: Asked(environment, config, Belief(kept.get(key))) for key, config in configured.items()}
            self._sources[environment] = held
        elif held.keys() != configured.keys():
            held = {key: held.get(key) or Asked(environment, config) for key, config in configured.items()}
            self._sources[environment] = held
            self._keep(environment)
        return held

    def _beliefs(self, environment: str) -> list[tuple[HostSource, Belief]]:
        """Return what is believed of each source, in the order of fleet.toml."""
        asked, now = self._asked(environment), self._clock()
        configured = self._fleet.in_environment(environment).hosts
        return [
            (config, asked[key_of(config)].belief if _has_to_be_asked(config) else _stated(config, now))
            for config in configured
        ]

    def _ask_due(self, environment: str) -> None:
        every, now = self._environment(environment).discover_every, self._clock()
        for source in self._asked(environment).values():
            if source.is_due(every, now):
                self._attempts.begin(source, now)

    def _heard(self, source: Asked, hosts: Sequence[Discovered]) -> None:
        configured = self._current().environment.get(source.environment)
        if configured is None or source.environment not in self._sources:
            return  # nobody wants to know any more
        before, now = source.belief.hosts, self._clock()
        source.hear(Answer(tuple(hosts), now), configured.max_shrink)
        if source.belief.hosts is not before or now - self._kept_at.get(source.environment, 0.0) > KEEP_INTERVAL:
            self._keep(source.environment)

    def _keep(self, environment: str) -> None:
        asked = self._sources[environment].items()
        self._keeper.write(environment, {key: each.belief.believed for key, each in asked if each.belief.believed})
        self._kept_at[environment] = self._clock()

    def _forget_others(self) -> None:
        names = self._current().environment
        if not self._sources or self._sources.keys() - names.keys():
            self._sources = {name: sources for name, sources in self._sources.items() if name in names}
            self._keeper.forget_all_but(names)


def check_known(sources: Sequence[SourceAnswer], *, accept_shrink: bool) -> None:
    """Return if it is known which hosts there should be; with `accept_shrink`, if it ever was.

    Raises:
        Blocked: a source does not answer, or lists far fewer hosts than before.
    """
    doubts = {source: doubt for source in sources if (doubt := _doubt_of(source, accept_shrink=accept_shrink))}
    if not doubts:
        return
    hints = dict.fromkeys(source.hint for source in doubts if source.hint)
    if REPAIR not in hints:  # a broken fleet.toml is no doubt about hosts: nothing else helps
        hints[_way_on(list(doubts))] = None
    raise Blocked(_sentence(doubts), hint=" ".join(hints))


def _sentence(doubts: dict[SourceAnswer, str]) -> str:
    """Return all doubts; a trouble that every source has, as with a broken fleet.toml, is said once."""
    troubles = {source.trouble for source in doubts}
    [common] = troubles if len(troubles) == 1 else [None]
    return common if common and len(doubts) > 1 else "; ".join(doubts.values())


def _way_on(doubted: Sequence[SourceAnswer]) -> str:
    look = f"Look with 'clarion hosts -e {doubted[0].environment}'"
    if any(source.answered_at is None for source in doubted):
        return f"{look}."
    return f"{look}; if that is right, or must be borne, add --accept-shrink."


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
    lists = f"{source.source} lists {source.offered} host{'' if source.offered == 1 else 's'}"
    if source.offered < source.hosts:
        return f"{lists} where it listed {source.hosts} before (until {until})"
    return f"{lists}, but too few of the {source.hosts} before (until {until})"


def _has_to_be_asked(config: HostSource) -> bool:
    return config.static is None


def _stated(config: HostSource, now: float) -> Belief:
    return Belief(Answer(tuple(StaticDiscoverer(config.static or ()).hosts()), now))
