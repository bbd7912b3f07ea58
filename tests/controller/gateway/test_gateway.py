"""The gateway, over real sockets: what it passes on, and what hostile peers cannot do to it."""

from __future__ import annotations

import socket as tcp
import struct
import time
from collections.abc import Callable

import pytest
import zmq

from clarion_controller.gateway import gateway as module
from clarion_controller.gateway.gateway import Gateway, GatewaySettings, Inbound
from clarion_protocol import wire
from clarion_protocol.errors import BadConfig
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.wire import Down, Up

from .peers import Directory, Inbox, Peers, wait_for

AgentOf = Callable[..., "zmq.Socket[bytes]"]


def test_a_report_arrives_with_the_host_that_its_key_belongs_to(agent_of: AgentOf, inbox: Inbox) -> None:
    """Whoever speaks is known by the CURVE key of the connection."""
    agent_of("web-1").send_multipart([b"report", b"{}"])
    agent_of("web-2").send_multipart([b"ask", b"[]"])
    wait_for(lambda: len(inbox.messages) == 2)
    assert {(message.host, message.kind, message.body) for message in inbox.messages} == {
        ("web-1", Up.REPORT, b"{}"),
        ("web-2", Up.ASK, b"[]"),
    }


def test_an_answer_reaches_its_host_and_no_other(gateway: Gateway, agent_of: AgentOf, inbox: Inbox) -> None:
    """Answers go to the connection from which the host was heard last."""
    one, two = agent_of("web-1"), agent_of("web-2")
    for agent in (one, two):
        agent.send_multipart([b"ask", b"{}"])
    wait_for(lambda: len(inbox.messages) == 2)
    gateway.send("web-2", Down.STATE, b"a", b"b")
    assert two.recv_multipart() == [b"state", b"a", b"b"]
    assert not one.poll(100)


def test_a_signal_reaches_every_subscriber_of_its_topic(
    gateway: Gateway, directory: Directory, peers: Peers, server_key: TransportKey
) -> None:
    """One broadcast, many hosts."""
    subscribers = [
        peers.connect(zmq.SUB, gateway.signal_port, server_key.public, directory.enrol(f"web-{n}")) for n in range(5)
    ]
    time.sleep(0.3)
    gateway.broadcast("staging", b"not for them")
    gateway.broadcast("production", b"signed")
    assert [socket.recv_multipart() for socket in subscribers] == [[b"production", b"signed"]] * 5


def test_a_host_that_came_back_on_a_new_connection_is_answered_there(
    gateway: Gateway, directory: Directory, peers: Peers, server_key: TransportKey, inbox: Inbox
) -> None:
    """The way back is always the newest one."""
    key = directory.enrol("web-1")
    old, new = (peers.connect(zmq.DEALER, gateway.report_port, server_key.public, key) for _ in range(2))
    old.send_multipart([b"ask", b"old"])
    wait_for(lambda: inbox.bodies == [b"old"])
    new.send_multipart([b"ask", b"new"])
    wait_for(lambda: inbox.bodies == [b"old", b"new"])
    gateway.send("web-1", Down.STATE)
    assert new.recv_multipart() == [b"state"]
    assert not old.poll(100)


def test_connected_are_those_that_were_heard_lately(
    server_key: TransportKey, directory: Directory, inbox: Inbox, peers: Peers
) -> None:
    """A host that is silent for too long no longer counts."""
    settings = GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(server_key.secret), silence=0.3)
    gateway = Gateway(settings, directory, inbox.deliver)
    gateway.start()
    try:
        agent = peers.connect(zmq.DEALER, gateway.report_port, server_key.public, directory.enrol("web-1"))
        agent.send_multipart([b"ask", b"{}"])
        wait_for(lambda: gateway.connected() == {"web-1"})
        wait_for(lambda: gateway.connected() == set(), 2)
    finally:
        gateway.stop()


def test_sending_to_a_host_that_has_gone_is_harmless(gateway: Gateway, agent_of: AgentOf, inbox: Inbox) -> None:
    """A vanished host is forgotten; one that never came is no error either."""
    agent = agent_of("web-1")
    agent.send_multipart([b"ask", b"{}"])
    wait_for(lambda: gateway.connected() == {"web-1"})
    agent.close()

    def is_forgotten() -> bool:
        gateway.send("web-1", Down.STATE)
        return gateway.connected() == set()

    wait_for(is_forgotten)
    gateway.send("never-seen", Down.STATE)
    assert_still_works(agent_of, inbox)


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.SUB], ids=["report port", "signal port"])
@pytest.mark.parametrize("who", ["plain", "unknown key", "wrong server key"])
def test_strangers_are_not_let_in(  # noqa: PLR0917
    who: str,
    kind: int,
    gateway: Gateway,
    directory: Directory,
    inbox: Inbox,
    peers: Peers,
    server_key: TransportKey,
    agent_of: AgentOf,
) -> None:
    """Neither port serves a peer without a known CURVE key; nothing it says arrives and it hears nothing."""
    keys: tuple[str | None, TransportKey | None] = {
        "plain": (None, None),
        "unknown key": (server_key.public, TransportKey.generate()),
        "wrong server key": (TransportKey.generate().public, directory.enrol("web-9")),
    }[who]
    port = gateway.report_port if kind == zmq.DEALER else gateway.signal_port
    stranger = peers.connect(kind, port, *keys)
    if kind == zmq.DEALER:
        stranger.send_multipart([b"report", b"from a stranger"], zmq.NOBLOCK)
    for _ in range(3):
        gateway.broadcast("production", b"secret")
        time.sleep(0.1)
    assert not stranger.poll(100)
    assert inbox.messages == []
    assert_still_works(agent_of, inbox)


def test_a_directory_that_raises_lets_nobody_in_and_the_door_stays_in_service(
    gateway: Gateway, directory: Directory, inbox: Inbox, agent_of: AgentOf
) -> None:
    """An exception in the rule answers one handshake with "try again", and the next is judged anew."""
    directory.fault = RuntimeError("database is locked")
    agent = agent_of("web-1")
    agent.send_multipart([b"report", b"late"])
    time.sleep(0.4)
    assert inbox.messages == []
    directory.fault = None
    wait_for(lambda: inbox.bodies == [b"late"])


def test_without_a_doorkeeper_nobody_gets_in(
    server_key: TransportKey, directory: Directory, peers: Peers, monkeypatch: pytest.MonkeyPatch, inbox: Inbox
) -> None:
    """If the ZAP service never ran, the sockets refuse everybody instead of admitting everybody."""
    monkeypatch.setattr("clarion_controller.gateway.zap.ENDPOINT", "inproc://nowhere")
    gateway = Gateway(GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(server_key.secret)), directory, inbox.deliver)
    gateway.start()
    try:
        key = directory.enrol("web-1")
        agent = peers.connect(zmq.DEALER, gateway.report_port, server_key.public, key)
        listener = peers.connect(zmq.SUB, gateway.signal_port, server_key.public, key)
        agent.send_multipart([b"report", b"{}"])
        for _ in range(5):
            gateway.broadcast("production", b"for hosts only")
            time.sleep(0.1)
        assert inbox.messages == []
        assert not listener.poll(100)
    finally:
        gateway.stop()


def test_a_revoked_key_is_ignored_on_its_live_connection(
    gateway: Gateway, directory: Directory, agent_of: AgentOf, inbox: Inbox
) -> None:
    """ZAP is asked only at the handshake, so every message is judged again."""
    agent = agent_of("web-1")
    agent.send_multipart([b"report", b"before"])
    wait_for(lambda: inbox.bodies == [b"before"])
    directory.hosts.clear()
    agent.send_multipart([b"report", b"after"])
    wait_for(lambda: gateway.dropped["revoked"] == 1)
    gateway.forget("web-1")
    gateway.send("web-1", Down.STATE, b"news")
    assert not agent.poll(200)
    assert inbox.bodies == [b"before"]


def test_a_host_cannot_take_anothers_routing_id(gateway: Gateway, agent_of: AgentOf, inbox: Inbox) -> None:
    """Claiming the routing id of another host neither steals its messages nor shuts it out."""
    thief = agent_of("thief", routing_id=b"web-1")
    thief.send_multipart([b"ask", b"thief"])
    wait_for(lambda: len(inbox.messages) == 1)
    victim = agent_of("web-1")
    victim.send_multipart([b"ask", b"victim"])
    wait_for(lambda: len(inbox.messages) == 2)
    gateway.send("web-1", Down.STATE, b"private")
    assert victim.recv_multipart() == [b"state", b"private"]
    assert not thief.poll(100)
    assert [message.host for message in inbox.messages] == ["thief", "web-1"]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b""], id="one empty frame"),
        pytest.param([b"report"], id="a kind without a body"),
        pytest.param([b"report", b"{}", b"more"], id="a frame too many"),
        pytest.param([b"web-2", b"report", b"{}"], id="another host's name in front"),
        pytest.param([b"state", b"{}"], id="a word that only controllers say"),
        pytest.param([b"REPORT", b"{}"], id="a word in capitals"),
        pytest.param([b"report\0", b"{}"], id="a word with a zero byte"),
        pytest.param([b"x"] * 1000, id="a thousand frames"),
        pytest.param([b""] * 50, id="fifty empty frames"),
        pytest.param([b"y" * 60_000] * 200, id="a bomb of frames, each small enough"),
        pytest.param([b"ask", b"z" * (wire.MAX_SMALL_BODY + 1)], id="a question that is too long"),
    ],
)
def test_malformed_messages_are_dropped_and_the_next_good_one_arrives(
    frames: list[bytes], gateway: Gateway, agent_of: AgentOf, inbox: Inbox
) -> None:
    """Nothing but `[kind, body]` in its limits is passed on, and the same connection goes on."""
    agent = agent_of("web-1")
    agent.send_multipart(frames)
    agent.send_multipart([b"report", b"good"])
    wait_for(lambda: inbox.messages)
    assert inbox.messages == [Inbound("web-1", Up.REPORT, b"good")]
    assert gateway.dropped["malformed"] == 1


def test_an_oversize_frame_ends_only_the_connection_that_sent_it(
    gateway: Gateway, agent_of: AgentOf, inbox: Inbox
) -> None:
    """A frame beyond the limit is never read: its connection ends before it is a message that could be dropped."""
    agent_of("web-1").send_multipart([b"report", b"x" * (wire.MAX_FRAME_BYTES + 1)])
    time.sleep(0.3)
    assert inbox.messages == []
    assert not gateway.dropped
    assert_still_works(agent_of, inbox)


def test_one_host_that_floods_does_not_silence_another(
    gateway: Gateway, agent_of: AgentOf, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its share in a second a host is not listened to; the others are."""
    monkeypatch.setattr(module, "MAX_MESSAGES_PER_SECOND", 50)
    flooder, other = agent_of("flooder"), agent_of("other")
    for _ in range(2000):
        flooder.send_multipart([b"report", b"{}"])
    other.send_multipart([b"report", b"important"])
    wait_for(lambda: b"important" in inbox.bodies)
    wait_for(lambda: gateway.dropped["too_many"] > 1500)
    assert sum(message.host == "flooder" for message in inbox.messages) <= 200


def test_a_flood_of_subscriptions_does_not_stop_the_signals(
    gateway: Gateway, directory: Directory, peers: Peers, server_key: TransportKey
) -> None:
    """Twenty thousand topics of one host are read and forgotten while others are served."""
    flooder, other = (
        peers.connect(zmq.SUB, gateway.signal_port, server_key.public, directory.enrol(name))
        for name in ("bad", "good")
    )
    for number in range(20_000):
        flooder.subscribe(b"flood-%030d" % number)

    def is_served() -> bool:
        gateway.broadcast("production", b"signed")
        return bool(other.poll(100))

    wait_for(is_served)


def test_strangers_that_speak_no_zmtp_do_not_disturb(gateway: Gateway, agent_of: AgentOf, inbox: Inbox) -> None:
    """Garbage, HTTP, silence, resets and old greetings on both ports end with themselves."""
    greetings = [b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 40, b"\x01\x00", b"\xff" + b"\0" * 63, b"", b"\xff" * 9]
    connections = []
    for port in (gateway.report_port, gateway.signal_port):
        for greeting in greetings * 10:
            connection = tcp.create_connection(("127.0.0.1", port))
            connection.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(greeting)
            connections.append(connection)
    assert_still_works(agent_of, inbox)
    for connection in connections:
        connection.close()
    assert_still_works(agent_of, inbox)


def test_a_receiver_that_raises_costs_one_batch_not_the_gateway(
    server_key: TransportKey, directory: Directory, peers: Peers
) -> None:
    """A fault behind the gateway is logged, and it goes on."""
    seen: list[bytes] = []

    def deliver(batch: list[Inbound]) -> None:
        seen.extend(inbound.body for inbound in batch)
        if len(seen) == 1:
            raise RuntimeError("a fault in the core")

    gateway = Gateway(GatewaySettings("127.0.0.1", 0, 0, bytes.fromhex(server_key.secret)), directory, deliver)
    gateway.start()
    try:
        agent = peers.connect(zmq.DEALER, gateway.report_port, server_key.public, directory.enrol("web-1"))
        agent.send_multipart([b"report", b"1"])
        wait_for(lambda: seen == [b"1"])
        agent.send_multipart([b"report", b"2"])
        wait_for(lambda: seen == [b"1", b"2"])
    finally:
        gateway.stop()


def test_a_port_that_is_taken_is_a_clear_error(
    gateway: Gateway, server_key: TransportKey, directory: Directory
) -> None:
    """Two controllers on one machine: the second says which port is taken and how to see by whom."""
    settings = GatewaySettings("127.0.0.1", 0, gateway.report_port, bytes.fromhex(server_key.secret))
    with pytest.raises(BadConfig, match=f"port {gateway.report_port}") as caught:
        Gateway(settings, directory, print).start()
    assert "ss -ltnp" in str(caught.value.hint)


def test_stopping_twice_and_sending_afterwards_are_harmless(gateway: Gateway) -> None:
    """An orderly end needs no order."""
    gateway.stop()
    gateway.stop()
    gateway.broadcast("production", b"late")
    gateway.send("web-1", Down.ACK, b"{}")


def assert_still_works(agent_of: AgentOf, inbox: Inbox) -> None:
    """Check that a good agent is served right now."""
    body = b"%f" % time.monotonic()
    agent_of("good").send_multipart([b"report", body])
    wait_for(lambda: body in inbox.bodies)
