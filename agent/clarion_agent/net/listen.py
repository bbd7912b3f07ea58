"""The agent's ear and mouth: signals in, reports out, on a thread that no bad answer can deafen.

- A line that ends, or on which no valid beacon was heard or no question answered for too
  long, is closed and built anew after a pause that grows and is random: a fleet never returns all at once.
- On each new line: what waits in the outbox, a heartbeat, and a question for what was missed.
- It believes nothing: every envelope goes to the core, which verifies it.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing

import structlog
import zmq

from clarion_agent.halves import Core
from clarion_agent.net.bell import Bell
from clarion_agent.net.converse import Conversation, Parties, Rhythm
from clarion_agent.net.grumble import Grumble
from clarion_agent.net.line import Line, Route
from clarion_agent.net.outbox import Outbox

LONGEST_TURN = 5.0

_log = structlog.get_logger(__name__)


class Listener:
    """Runs until `stop`. `last_turn` (monotonic) shows that it lives, `last_beacon` (UTC, 0: never) that it hears."""

    def __init__(self, route: Route, core: Core, outbox: Outbox, rhythm: Rhythm | None = None) -> None:
        self._route = route
        self._parties = Parties(core, outbox, Grumble(), route.environment)
        self._rhythm = rhythm or Rhythm()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._bell = Bell()
        self._pause = self._rhythm.shortest_pause
        self._is_stopping = False
        self.thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self.last_turn = time.monotonic()
        self.last_beacon = 0.0
        self.is_up = False

    def start(self) -> None:
        """Begin to listen."""
        self.thread.start()

    def wake(self) -> None:
        """Have the outbox looked at now. Any thread."""
        self._bell.ring()

    def stop(self) -> None:
        """Close the line and end the thread; what waits in the outbox stays there."""
        self._is_stopping = True
        self._bell.ring()
        self.thread.join()
        self._context.term()
        self._bell.close()

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                why = self._live_one_line()
            except Exception:  # noqa: BLE001 (outermost loop: a deaf agent is worse than any single failure)
                _log.exception("line.fault")
                why = "a fault of the agent"
            self.is_up = False
            if not self._is_stopping:
                self._rest(why)

    def _live_one_line(self) -> str:
        with closing(Line(self._context, self._route)) as line:
            line.dial(self._route)
            return self._converse(line)

    def _converse(self, line: Line) -> str:
        conversation = Conversation(line, self._parties, self._rhythm)
        poller = self._poller(line)
        while not self._is_stopping:
            self._sleep(poller, conversation.seconds_to_next())
            if why := conversation.why_over():
                return why
            self._note_up(line)
            conversation.hear()
            conversation.speak()
            self._note_beacon(conversation)
        return "stopped"

    def _poller(self, *lines: Line) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._bell.fileno(), zmq.POLLIN)
        for line in lines:
            for source in line.sources:
                poller.register(source, zmq.POLLIN)
        return poller

    def _sleep(self, poller: zmq.Poller, seconds: float) -> None:
        self.last_turn = time.monotonic()
        # Rounded up: a poll that ends a millisecond early would only be repeated.
        for source, _ in poller.poll(int(min(seconds, LONGEST_TURN) * 1000) + 1):
            if source == self._bell.fileno():
                self._bell.hush()

    def _note_up(self, line: Line) -> None:
        if line.is_up and not self.is_up:
            self.is_up = True
            _log.info("line.up", controller=self._route.peer.address)

    def _note_beacon(self, conversation: Conversation) -> None:
        if conversation.last_beacon > self.last_beacon:
            self.last_beacon = conversation.last_beacon
            self._pause = self._rhythm.shortest_pause

    def _rest(self, why: str) -> None:
        pause = self._pause * random.uniform(0.3, 1.0)  # noqa: S311 (spreads load, hides nothing)
        self._pause = min(2 * self._pause, self._rhythm.longest_pause)
        _log.warning("line.ended", controller=self._route.peer.address, reason=why, again_in=round(pause, 1))
        poller, until = self._poller(), time.monotonic() + pause
        while not self._is_stopping and time.monotonic() < until:
            self._sleep(poller, until - time.monotonic())
