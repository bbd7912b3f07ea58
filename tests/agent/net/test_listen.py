"""The agent's line to the controller, over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from clarion_protocol.documents import Facts, Head, Progress
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.words import HostStatus

from .world import CLUSTER, ENVIRONMENT, FAST, HOST, Agent, Controller, wait_for

PROGRESS = Progress(deployment="d" * 32, stream="production/shop", status=HostStatus.COMMITTED)


def test_a_signal_reaches_the_core(controller: Controller, agent: Agent) -> None:
    """What the controller broadcasts in the host's environment is offered to the core as it came."""
    controller.gateway.broadcast(ENVIRONMENT, b'{"any":"envelope"}')
    wait_for(lambda: agent.core.refused)
    assert agent.core.refused[0].code == "signal.bad_envelope"


def test_a_new_line_tells_what_the_host_is_and_asks_what_it_missed(controller: Controller, agent: Agent) -> None:
    """Without being asked an agent sends a heartbeat with its facts, and its heads."""
    assert (controller.reports[0].progress, controller.reports[0].facts) == (None, Facts(hostname="web-1"))
    assert controller.asked >= 1
    assert controller.gateway.connected() == {HOST}


def test_the_answer_to_a_question_is_offered(controller: Controller, agent: Agent) -> None:
    """Every envelope of a state answer reaches the core."""
    controller.state = [controller.beacon(time=int(time.time()) - 5)]
    wait_for(lambda: controller.state[0] in agent.core.taken)


def test_a_report_is_acknowledged_and_forgotten(controller: Controller, agent: Agent) -> None:
    """A queued report travels at once and leaves the outbox when the controller has it."""
    agent.outbox.put(PROGRESS)
    agent.listener.wake()
    wait_for(lambda: not len(agent.outbox))
    assert [report.progress for report in controller.reports if report.progress] == [PROGRESS]


def test_reports_are_repeated_until_acknowledged(controller: Controller, agent: Agent) -> None:
    """A report that the controller does not acknowledge comes again, and no heartbeat overtakes it."""
    controller.is_acknowledging = False
    agent.outbox.put(PROGRESS)
    agent.listener.wake()
    wait_for(lambda: len([report for report in controller.reports if report.progress]) >= 3)
    first = next(at for at, report in enumerate(controller.reports) if report.progress)
    assert all(report.progress for report in controller.reports[first:])
    controller.is_acknowledging = True
    wait_for(lambda: not len(agent.outbox))


def test_a_beacon_that_shows_something_missed_makes_the_agent_ask(controller: Controller, agent: Agent) -> None:
    """Heads beyond the host's own lead to questions before the next poll is due."""
    before = controller.asked
    controller.heads = {"production/shop": Head(7, 9)}
    wait_for(lambda: controller.asked >= before + 5, seconds=4)


def test_messages_of_another_environment_are_not_offered(controller: Controller, agent: Agent) -> None:
    """A topic that only begins like the environment's name is somebody else's."""
    controller.gateway.broadcast("production-eu", b"not ours")
    controller.gateway.broadcast(ENVIRONMENT, b"ours")
    wait_for(lambda: agent.core.refused)
    assert len(agent.core.refused) == 1


def test_the_agent_returns_after_the_controller_restarted(controller: Controller, agent: Agent) -> None:
    """A controller that went away and came back is heard again, and what was queued meanwhile arrives in order."""
    controller.stop()
    wait_for(lambda: not agent.listener.is_up)
    for status in (HostStatus.STAGED, HostStatus.CHECKING, HostStatus.COMMITTED):
        agent.outbox.put(Progress(deployment="d" * 32, stream="production/shop", status=status))
    controller.start()
    wait_for(lambda: agent.listener.is_up and not len(agent.outbox))
    seqs = [report.seq for report in controller.reports]
    assert seqs == sorted(set(seqs))
    assert [report.progress.status for report in controller.reports if report.progress][-1] is HostStatus.COMMITTED


def test_a_connection_that_ends_is_noticed_at_once(controller: Controller, agent_of: Callable[..., Agent]) -> None:
    """Where the socket itself knows that it is over, nobody waits for beacons to be missed."""
    agent = agent_of(controller.transport.public, controller.ports, rhythm=replace(FAST, patience=1000))
    wait_for(lambda: agent.listener.is_up)
    controller.stop()
    wait_for(lambda: not agent.listener.is_up, seconds=2)
    controller.start()
    wait_for(lambda: agent.listener.is_up, seconds=5)


def test_a_line_without_beacons_is_built_anew(controller: Controller, agent: Agent) -> None:
    """An agent that hears no valid beacon for three intervals does not trust its line."""
    heard = agent.listener.last_beacon
    controller.is_beaconing = False
    wait_for(lambda: not agent.listener.is_up)
    controller.is_beaconing = True
    wait_for(lambda: agent.listener.is_up and agent.listener.last_beacon > heard)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"cluster": "f" * 32}, id="another cluster's"),
        pytest.param({"environment": "staging"}, id="another environment's"),
        pytest.param({"time": int(time.time()) - 3600}, id="an hour old"),
        pytest.param({"time": int(time.time()) + 3600}, id="an hour ahead"),
    ],
)
def test_a_beacon_that_is_not_believed_does_not_keep_a_line_alive(
    wrong: dict[str, object], controller: Controller, agent: Agent
) -> None:
    """Replayed or foreign beacons on a live connection do not fool the watchdog."""
    controller.is_beaconing = False
    stop = threading.Event()

    def replay() -> None:
        while not stop.wait(0.05):
            controller.gateway.broadcast(ENVIRONMENT, controller.beacon(**wrong))

    thread = threading.Thread(target=replay)
    thread.start()
    try:
        wait_for(lambda: agent.core.refused)
        wait_for(lambda: not agent.listener.is_up)
    finally:
        stop.set()
        thread.join()


def http_error(connection: socket.socket) -> None:
    connection.recv(64)
    connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)


def random_bytes(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 8)


def old_greeting(connection: socket.socket) -> None:
    connection.sendall(b"\x01\x00")


def null_greeting(connection: socket.socket) -> None:
    connection.sendall(b"\xff" + b"\x00" * 8 + b"\x7f\x03\x00NULL" + b"\x00" * 48)


def silence(connection: socket.socket) -> None:
    connection.recv(64)


def hanging_up(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.parametrize("answer", [http_error, random_bytes, old_greeting, null_greeting, silence, hanging_up])
def test_after_a_bad_answer_the_good_controller_is_heard_again(
    answer: Callable[[socket.socket], None], controller: Controller, agent: Agent
) -> None:
    """Something else answers on the controller's ports for a while; when the controller is back, so is the agent."""
    controller.stop()
    with Impostor(controller.ports, answer) as impostor:
        wait_for(lambda: impostor.answered >= 2)
    controller.start()
    wait_for(lambda: agent.listener.is_up)


def test_a_host_that_is_refused_today_is_heard_once_it_is_enrolled(
    controller: Controller, agent_of: Callable[..., Agent]
) -> None:
    """A key that the controller does not know yet (ZAP 400) does not deafen the agent for ever."""
    newcomer = TransportKey.generate()
    agent = agent_of(controller.transport.public, controller.ports, newcomer)
    time.sleep(0.5)
    assert not agent.listener.is_up
    controller.transport_public = newcomer.public
    wait_for(lambda: agent.listener.is_up)


def test_a_controller_with_another_key_hears_nothing(controller: Controller, agent_of: Callable[..., Agent]) -> None:
    """An agent talks only to the owner of the transport key that it was given when it joined."""
    agent = agent_of(TransportKey.generate().public, controller.ports)
    time.sleep(1.0)
    assert not agent.listener.is_up
    assert controller.reports == []


def test_a_frame_that_is_too_large_costs_one_line_not_the_agent(controller: Controller, agent: Agent) -> None:
    """An oversize frame ends the connection, and the agent comes back by itself."""
    controller.gateway.broadcast(ENVIRONMENT, b"x" * 300_000)
    wait_for(lambda: not agent.listener.is_up)
    wait_for(lambda: agent.listener.is_up)


def test_acks_and_answers_that_make_no_sense_are_ignored(controller: Controller, agent: Agent) -> None:
    """Malformed answers change nothing, and the line goes on."""
    from clarion_protocol.wire import Down  # noqa: PLC0415

    controller.is_acknowledging = False
    agent.outbox.put(PROGRESS)
    for bodies in ([b"{}"], [b'{"seq":-1}'], [b'{"seq":1e99}'], [b""], [b"1", b"2"], []):
        controller.gateway.send(HOST, Down.ACK, *bodies)
    controller.gateway.send(HOST, Down.STATE, *[b"nonsense"] * 40)
    wait_for(lambda: len(agent.core.refused) == 16)
    assert len(agent.outbox) == 1
    assert controller.reports[0].cluster == CLUSTER


class Impostor:
    """Answers on the controller's ports with something that is no controller."""

    def __init__(self, ports: tuple[int, int], answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._servers = [socket.create_server(("127.0.0.1", port)) for port in ports]
        self._threads = [threading.Thread(target=self._serve, args=(server,)) for server in self._servers]
        self.answered = 0

    def _serve(self, server: socket.socket) -> None:
        kept = []
        with suppress(OSError):  # the server was shut down
            while True:
                connection, _ = server.accept()
                kept.append(connection)
                with suppress(ConnectionError):
                    self._answer(connection)
                self.answered += 1
        for connection in kept:
            connection.close()

    def __enter__(self) -> Impostor:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in self._threads:
            thread.join()
