"""Many hosts in one process: the agent's own sockets, and per signal the agent's own verification and signed report.

Started by `fanout.py`: reads one JSON line of what to be from standard input, prints "ready"
when every host is connected, then "<CPU seconds>" for each further line, and ends with its input.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from clarion_agent.net.sockets import Connection, Peer, receive
from clarion_protocol.documents import Deployment, Head, Report, read
from clarion_protocol.keys import SigningKey, public_key
from clarion_protocol.policy import read_policy
from clarion_protocol.transport_keys import TransportKey
from clarion_protocol.trust import Floor, Standpoint, accept_signal
from clarion_protocol.wire import Up

SIGNATURE = 64
UNSIGNED = bytes(SIGNATURE)
# Whose handshakes are under way at once: all of a fleet's take longer than one may, on a machine with other work.
AT_ONCE = 50

Answer = Callable[[bytes], bytes]


@dataclass
class Host:
    """One host: its two connections, and what it answers to a signal."""

    signals: Connection
    reports: Connection
    answer: Answer


def clarion_answer(task: dict[str, str], host: str, key: SigningKey) -> Answer:
    """Return what a host does with a signal: verify it, raise its floor, sign a report."""
    policy = read_policy(task["policy"].encode())
    deployment = read(task["deployment"].encode(), Deployment)
    floor, seq = Floor(policy.epoch), 0

    def answer(envelope: bytes) -> bytes:
        nonlocal floor, seq
        signal, floor = accept_signal(envelope, Standpoint(host, policy, time.time()), floor, deployment)
        seq += 1
        heads = {signal.stream: Head(deployment.seq, signal.seq)}
        report = Report(cluster=policy.cluster, host=host, boot="b" * 36, seq=seq, at=int(time.time()), heads=heads)
        return report.sealed(key)

    return answer


def split(message: bytes) -> tuple[bytes, bytes]:
    """Return the signature that a message over bare sockets begins with, and what it signs."""
    return message[:SIGNATURE], message[SIGNATURE:]


def bare_answer(task: dict[str, str], host: str, key: SigningKey) -> Answer:
    """Return the floor: as many bytes as a report, and no thought; to a signed signal, a signed report."""
    body = host.encode().ljust(int(task["report_bytes"]) - SIGNATURE, b"x")
    [controller] = map(public_key, read_policy(task["policy"].encode()).signals)

    def answer(signal: bytes) -> bytes:
        if signal.startswith(UNSIGNED):
            return UNSIGNED + body
        if not controller.has_signed(*split(signal)):
            raise SystemExit("a signal over bare sockets is not signed")
        return key.sign(body) + body

    return answer


def connect(context: zmq.Context[zmq.Socket[bytes]], task: dict[str, str], secrets: dict[str, str]) -> Host:
    """Return one host, connecting."""
    peer = Peer("127.0.0.1", task["server_key"], TransportKey.from_secret(secrets["transport"]))
    key = SigningKey(bytes.fromhex(secrets["sign"]))
    answer = (clarion_answer if task["kind"] == "clarion" else bare_answer)(task, secrets["host"], key)
    host = Host(Connection(context, zmq.SUB, peer), Connection(context, zmq.DEALER, peer), answer)
    host.signals.socket.subscribe(b"production")
    host.signals.dial(int(task["signal_port"]))
    host.reports.dial(int(task["report_port"]))
    return host


def wait_until_up(hosts: list[Host]) -> None:
    """Wait for every handshake, and say hello so that the controller knows each way back."""
    until = time.monotonic() + 60
    for host in hosts:
        for connection in (host.signals, host.reports):
            while not connection.is_up:
                if (why := connection.trouble()) or time.monotonic() > until:
                    raise SystemExit(f"a simulated host cannot connect: {why}")
                time.sleep(0.001)
        while not host.reports.send(Up.ASK.value, b'{"heads":{}}'):
            time.sleep(0.001)


def main() -> None:
    """Be the hosts that standard input describes."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    task = json.loads(sys.stdin.readline())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 20_000)
    hosts: list[Host] = []
    for first in range(0, len(task["hosts"]), AT_ONCE):
        some = [connect(context, task, secrets) for secrets in task["hosts"][first : first + AT_ONCE]]
        wait_until_up(some)
        hosts += some
    print("ready", flush=True)
    serve(hosts)
    for host in hosts:
        host.signals.close()
        host.reports.close()
    context.term()


def serve(hosts: list[Host]) -> None:
    """Answer signals until standard input ends."""
    by_socket = {host.signals.socket: host for host in hosts}
    poller = zmq.Poller()
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    for socket in by_socket:
        poller.register(socket, zmq.POLLIN)
    while True:
        for source, _ in poller.poll():
            host = by_socket.get(source)
            if host:
                while frames := receive(host.signals.socket, 2):
                    host.reports.send(Up.REPORT.value, host.answer(frames[1]))
            elif sys.stdin.readline():
                print(time.process_time(), flush=True)
            else:
                return


if __name__ == "__main__":
    main()
