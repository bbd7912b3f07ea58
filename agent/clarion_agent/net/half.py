"""The net half as the core sees it: metadata, packages and reports, and the line to the controller behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from clarion_agent.config import Config
from clarion_agent.halves import Core
from clarion_agent.identity import Identity
from clarion_agent.net import outbox
from clarion_agent.net.converse import Rhythm
from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.line import Route
from clarion_agent.net.listen import Listener
from clarion_agent.net.outbox import Author, Outbox
from clarion_agent.net.patience import Patience
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.net.sockets import Peer
from clarion_protocol.documents import Facts, Progress
from clarion_protocol.transport_keys import TransportKey

# For a refresh on which the line waits: all its files together must be over before the line counts as hanging.
BRIEF = Patience(connect=2.0, silence=3.0, deadline=5.0, attempts=2)


class NetHalf:
    """Implements `halves.Net`. It is made before the core, and attached to it before anything runs."""

    def __init__(self, config: Config, identity: Identity, facts: Callable[[], Facts]) -> None:
        self._config = config
        self._identity = identity
        self._facts = facts
        self._fetcher = Fetcher.of(config, identity.record.package_url)
        self._brief_fetcher = Fetcher.of(config, identity.record.package_url, BRIEF)

    def attach(self, core: Core) -> None:
        """Make the outbox and the line, which ask `core` what is true."""
        self._core = core
        record = self._identity.record
        author = Author(record.cluster, record.host, self._identity.sign_key, core.running, core.heads, self._facts)
        self.outbox = Outbox(self._config.state / outbox.FOLDER, author)
        rhythm = Rhythm(poll=float(self._config.poll_interval))
        self.listener = Listener(route_of(self._identity), core, self.outbox, rhythm)

    def refresh(self) -> None:
        """Bring the package metadata up to date; see `halves.Net`."""
        record = self._identity.record
        # An app that agent.toml does not name may be deployed too: it only restarts nothing.
        apps = {*self._config.app, *(stream.partition("/")[2] for stream in self._core.heads())}
        is_on_line = threading.current_thread() is self.listener.thread
        fetcher = self._brief_fetcher if is_on_line else self._fetcher
        refresh(self._config.trust, self._identity.root, fetcher, Wanted(record.environment, sorted(apps)))

    def fetch(self, path: str, into: Path, spans: Sequence[tuple[int, int]], *, total: int) -> None:
        """Write bytes of a package to a file; see `halves.Net`."""
        self._fetcher.fetch(path, into, spans, total=total)

    def report(self, progress: Progress) -> None:
        """Queue a report and have it sent; see `halves.Net`."""
        self.outbox.put(progress)
        self.listener.wake()


def route_of(identity: Identity) -> Route:
    """Return the way to the controller that admitted this host."""
    record = identity.record
    peer = Peer(record.address, record.server_key, TransportKey(identity.transport_secret, record.transport_public))
    return Route(peer, record.signal_port, record.report_port, record.environment)
