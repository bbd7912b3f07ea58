"""Ports that anybody can reach: whoever connects and does not ask is not waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from clarion_controller.impatient_http import ImpatientHttp
from clarion_controller.package_store.app import listen

SLOW = 1.5  # seconds that the app takes, longer than a request may take to come


class Hasty(ImpatientHttp):
    """One that waits a moment only."""

    longest = 0.5


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with how long the body was, at `/slow` after a while."""
    import asyncio  # noqa: PLC0415 (only here)

    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await asyncio.sleep(SLOW if scope["path"] == "/slow" else 0)
    body = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port() -> Iterator[int]:
    """Serve the app."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, http=Hasty))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("said", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "a word", "headers"])
def test_who_does_not_ask_is_hung_up_on(port: int, said: bytes) -> None:
    """Whether they say nothing, or begin and never come to the end of the headers."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(said)
        assert connection.recv(100) == b""


def test_headers_drop_by_drop_do_not_help(port: int) -> None:
    """The time is that of all headers, not of each piece."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            drip(connection)


def drip(connection: socket.socket) -> None:
    """Send headers, one after the other, for five seconds."""
    for number in range(50):
        connection.sendall(b"x-%d: y\r\n" % number)
        time.sleep(0.1)


def test_the_second_request_of_a_connection_has_to_come_whole_as_well(port: int) -> None:
    """A first one that was answered buys no time."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(1000)
        connection.sendall(b"GET / HT")
        while connection.recv(1000):
            pass


def slowly(*pieces: bytes) -> Iterator[bytes]:
    """Yield a body in pieces, with pauses."""
    for piece in pieces:
        time.sleep(0.4)
        yield piece


def test_who_has_asked_is_waited_for(port: int) -> None:
    """A slow answer and a slow body are other people's business; connections are used again."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/slow").text == "0"
        assert client.post("/", content=slowly(b"ab", b"cd", b"ef")).text == "6"
        assert client.get("/").text == "0"
