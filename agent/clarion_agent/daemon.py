"""`clarion-agent run`: both halves wired together, kept alive, and ended in good order."""

from __future__ import annotations

import threading
import time
from importlib.metadata import version

import structlog

from clarion_agent.config import Config
from clarion_agent.contact import Contact, note_contact
from clarion_agent.core import Core
from clarion_agent.host_facts import host_facts
from clarion_agent.identity import Identity, Record, load_identity
from clarion_agent.logs import begin_logging
from clarion_agent.net.fetch import Fetcher
from clarion_agent.net.half import NetHalf
from clarion_agent.net.join import FetchPolicy
from clarion_agent.net.notify_systemd import Systemd
from clarion_agent.net.patience import Patience
from clarion_agent.net.refresh import Wanted, refresh
from clarion_agent.net.same_server import SameServer
from clarion_agent.parts import sandbox_of
from clarion_agent.run_lock import only_agent
from clarion_agent.stopping import set_at_signal
from clarion_protocol.documents import Facts

WHILE_SOMEBODY_WATCHES = Patience(deadline=30.0, attempts=3)
LOOK_AFTER_S = 2.0
HANGING_AFTER_S = 40.0
LAST_WORDS_S = 2.0

_log = structlog.get_logger(__name__)


def first_refresh(config: Config) -> FetchPolicy:
    """Return what brings metadata and policy to a host that is about to join."""

    def fetch(record: Record, root: bytes) -> None:
        fetcher = Fetcher.of(config, record.package_url, WHILE_SOMEBODY_WATCHES)
        refresh(config.trust, root, fetcher, Wanted(record.environment, sorted(config.app)))

    return fetch


def run_agent(config: Config) -> None:
    """Run until a signal says stop.

    Raises:
        BadConfig: this host has not joined.
        Blocked: another agent runs here.
        CopiedServer: the identity is another server's.
    """
    begin_logging()
    identity = load_identity(config.state)
    with only_agent(config.state):
        Daemon(config, identity).run()


class Daemon:
    """The running agent."""

    def __init__(self, config: Config, identity: Identity) -> None:
        self._config = config
        self._identity = identity
        self._same_server = SameServer(identity.record.instance, config)
        self._systemd = Systemd()
        self._stop = threading.Event()
        self._net = NetHalf(config, identity, self._facts)
        self._core = Core(config, identity, self._net)
        self._net.attach(self._core)

    def run(self) -> None:
        """Recover, listen, and look after both until stopped.

        Raises:
            CopiedServer: the identity is another server's.
        """
        set_at_signal(self._stop)
        record = self._identity.record
        _log.info("agent.start", host=record.host, name=record.name, environment=record.environment)
        # Before anything is signed with keys that are not this server's.
        self._same_server.check()
        note_contact(self._config.state, Contact())
        # First what was left half done; only then may news come in.
        self._core.recover()
        self._net.listener.start()
        self._systemd.ready(self._status())
        # Several times within systemd's patience, if that is short.
        pause = min(LOOK_AFTER_S, (self._systemd.watchdog or 60.0) / 4)
        try:
            while not self._stop.wait(pause):
                self._look_after()
        finally:
            self._end()

    def _look_after(self) -> None:
        """Tell systemd that both halves live. If one hangs nothing is told, and systemd starts the agent anew."""
        self._core.heads()  # takes the lock that every message takes
        listener = self._net.listener
        if time.monotonic() - listener.last_turn > HANGING_AFTER_S:
            _log.error("agent.hangs", half="net", seconds=round(time.monotonic() - listener.last_turn))
            return
        self._systemd.alive(self._status())
        note_contact(self._config.state, Contact(listener.is_up, listener.last_beacon))
        if listener.is_up:
            self._same_server.check()

    def _end(self) -> None:
        self._systemd.stopping()
        self._core.close()
        until = time.monotonic() + LAST_WORDS_S
        while self._net.listener.is_up and len(self._net.outbox) and time.monotonic() < until:
            time.sleep(0.05)
        self._net.listener.stop()
        _log.info("agent.end", unsent_reports=len(self._net.outbox))

    def _status(self) -> str:
        record = self._identity.record
        line = "connected to" if self._net.listener.is_up else "no line to"
        trouble = self._core.trouble()
        refuses = f"; refuses every order: {trouble}" if trouble else ""
        return f"{record.name} in {record.environment}, {line} {record.address}{refuses}"

    def _facts(self) -> Facts:
        sandbox = sandbox_of(self._config).name
        trouble = self._core.trouble()
        return host_facts(self._config.apps, agent_version=version("clarion"), sandbox=sandbox, trouble=trouble)
