"""Announcements over real HTTP: who gets in, who does not, and what a burst or a broken sender costs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx
import psutil
import pytest
from structlog.testing import capture_logs
from tests.controller.builds.pushing import (
    MAIN,
    SECRET,
    A,
    B,
    building_cluster,
    controller_process,
    github_headers,
    github_push,
    github_signature,
)
from tests.controller.live import Live, live
from tests.stores import Cluster, serving

from clarion_controller.builds.build import Build, Push
from clarion_controller.builds.build_queue import BuildQueue
from clarion_controller.builds.raw_body import Room
from clarion_controller.builds.receive import Receiver
from clarion_controller.cluster import Cluster as RunningCluster
from clarion_controller.fleet_toml.fleet import load_fleet

pytestmark = pytest.mark.once

REFUSED = "no such repository, or not signed with its secret\n"


def hooks(home: Path) -> str:
    """Return where announcements are awaited."""
    return f"http://127.0.0.1:{load_fleet(home / 'fleet.toml').controller.hook_port}/hooks"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Have a controller serve that has the repository `shop`, and `silent` without a secret."""
    settings = '[repository.silent]\nurl = "/x"\n[repository.lost]\nurl = "/x"\nsecret = "file:nowhere"\n'
    cluster = building_cluster(tmp_path_factory.mktemp("hooks"), settings)
    with live(cluster.home) as running:
        yield running


def builds_of(controller: Live) -> list[Build]:
    """Return all builds."""
    return controller.client.builds(limit=1000)


def send(controller: Live, body: bytes, headers: dict[str, str], name: str = "shop") -> httpx.Response:
    """Announce something."""
    return httpx.post(f"{hooks(controller.home)}/{name}", content=body, headers=headers, timeout=30)


def test_a_push_is_taken_on_and_a_replay_is_known(controller: Live) -> None:
    """202 once it is on the disk; the same delivery again is 200, and builds nothing."""
    body = github_push(A, "refs/heads/main")
    first = send(controller, body, github_headers(body))
    assert (first.status_code, first.text) == (202, f"{A[:12]} of {MAIN} will be built\n")
    assert [(build.commit, build.by, build.status) for build in builds_of(controller)] == [(A, "ada", "queued")]
    again = send(controller, body, github_headers(body))
    assert (again.status_code, again.text) == (200, "already known\n")
    renumbered = send(controller, body, github_headers(body, "another-number"))
    assert (renumbered.status_code, renumbered.text) == (200, "already known\n")
    assert len(builds_of(controller)) == 1


PING = b'{"zen": "Keep it logically awesome.", "hook_id": 1}'


@pytest.mark.parametrize(
    ("body", "event", "said"),
    [
        pytest.param(PING, "ping", "only pushes are built", id="a ping"),
        pytest.param(github_push(A, deleted=True), "push", "it was deleted", id="a deleted branch"),
        pytest.param(github_push(A, "refs/heads/wip"), "push", "not among the branches", id="a branch nobody builds"),
        pytest.param(github_push(A, "refs/tags/beta"), "push", "not among the branches", id="a tag nobody builds"),
        pytest.param(b"not even JSON", "create", "only pushes are built", id="another event"),
    ],
)
def test_what_is_not_to_be_built_is_heard(controller: Live, body: bytes, event: str, said: str) -> None:
    """200, so that the forge does not complain, with a sentence for whoever looks there."""
    before = len(builds_of(controller))
    answer = send(controller, body, github_headers(body, x_github_event=event))
    assert answer.status_code == 200
    assert said in answer.text
    assert len(builds_of(controller)) == before


def test_genuine_nonsense_gets_a_sentence(controller: Live) -> None:
    """400, and nothing of it is built."""
    body = github_push(A, "refs/heads/\x1b[31m")
    answer = send(controller, body, github_headers(body))
    assert answer.status_code == 400
    assert "is no branch and no tag" in answer.text
    assert "\x1b" not in answer.text


def attack(name: str, change: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]]) -> object:
    """Return a row of the table of attacks."""
    return pytest.param(change, id=name)


ATTACKS = [
    attack("no signature", lambda body, headers: (body, without(headers, "x-hub-signature-256"))),
    attack("an empty signature", lambda body, headers: (body, {**headers, "x-hub-signature-256": ""})),
    attack(
        "another secret's signature",
        lambda body, headers: (body, {**headers, "x-hub-signature-256": github_signature(body, "guessed")}),
    ),
    attack(
        "SHA-1 instead of SHA-256",
        lambda body, headers: (body, {**headers, "x-hub-signature-256": github_signature(body, algorithm="sha1")}),
    ),
    attack("a body changed by one byte", lambda body, headers: (body.replace(b"bbbb", b"bbbc", 1), headers)),
    attack("a byte more", lambda body, headers: (body + b" ", headers)),
    attack("a byte less", lambda body, headers: (body[:-1], headers)),
    attack("an empty body", lambda body, headers: (b"", headers)),
    attack("GitLab's token", lambda body, headers: (body, {"x-gitlab-token": SECRET, "x-gitlab-event": "Push Hook"})),
    attack("no UTF-8, unsigned", lambda body, headers: (b"\xff\xfe", headers)),
    attack("deep JSON, unsigned", lambda body, headers: (b"[" * 1_000_000, headers)),
]


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    """Return the headers but one."""
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize("change", ATTACKS)
@pytest.mark.parametrize("name", ["shop", "nobody", "silent", "lost", "SHOP", "x" * 100])
def test_who_has_no_secret_gets_one_answer(
    controller: Live, name: str, change: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]]
) -> None:
    """Known or not, with a secret or without, with one that cannot be read: nobody learns which it is."""
    before = len(builds_of(controller))
    body = github_push(B)
    answer = send(controller, *change(body, github_headers(body)), name)
    headers = without(dict(answer.headers), "date")
    assert (answer.status_code, answer.text) == (401, REFUSED)
    assert headers == {"server": "uvicorn", "content-type": "text/plain; charset=utf-8", "content-length": "50"}
    assert len(builds_of(controller)) == before


REASONS = {
    "shop": "the signature is not by the secret of this repository",
    "nobody": "fleet.toml has no such repository with a secret",
    "silent": "fleet.toml has no such repository with a secret",
    "lost": "its secret cannot be read",
}


@pytest.mark.parametrize("name", REASONS)
def test_why_somebody_was_refused_stands_in_the_log_alone(controller: Live, name: str) -> None:
    """A name that was misspelt at the forge, and a secret that is not there, are no wrong signatures."""
    with capture_logs() as logged:
        assert send(controller, b"{}", {}, name).text == REFUSED
    (refused,) = [line for line in logged if line["event"] == "hook.refused"]
    assert (refused["repository"], refused["reason"]) == (name, REASONS[name])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_taken(controller: Live, method: str) -> None:
    """405 says so, for a name that exists and for one that does not."""
    for name in ("shop", "nobody"):
        answer = httpx.request(method, f"{hooks(controller.home)}/{name}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["", "/", "/hooks", "/hooks/", "/hooks/a/b", "/hooks/..%2Fshop", "/v1/fleet", "/hooks/" + "x" * 101]
)
def test_nothing_else_is_there(controller: Live, path: str) -> None:
    """The API is not reached through this port."""
    assert httpx.post(f"{hooks(controller.home).removesuffix('/hooks')}{path}").status_code == 404


def test_a_body_in_chunks_without_a_length_is_taken(controller: Live) -> None:
    """Proxies may send it so."""
    body = github_push(A, "refs/tags/v1.0")
    answer = httpx.post(
        f"{hooks(controller.home)}/shop",
        content=iter([body[:10], body[10:]]),
        headers=github_headers(body, "chunked"),
    )
    assert answer.status_code == 202


def test_a_large_push_is_taken(controller: Live) -> None:
    """20 MiB of commits that nobody looks at."""
    body = github_push(A, "refs/tags/v2.0", commits=[{"id": A, "message": "x" * 1024}] * 20_000)
    assert len(body) > 20 * 2**20
    assert send(controller, body, github_headers(body, "large")).status_code == 202


def raw(home: Path, said: bytes) -> socket.socket:
    """Return a connection on which this was said."""
    port = load_fleet(home / "fleet.toml").controller.hook_port
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(said)
    return connection


def test_a_body_that_breaks_off_changes_nothing(controller: Live) -> None:
    """Also if what came of it is signed."""
    before = len(builds_of(controller))
    body = github_push(B)
    lines = [f"{name}: {value}" for name, value in github_headers(body, "broken").items()]
    head = "\r\n".join(["POST /hooks/shop HTTP/1.1", "host: x", f"content-length: {len(body) + 5}", *lines, "", ""])
    with raw(controller.home, head.encode() + body) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""
    time.sleep(0.5)
    assert len(builds_of(controller)) == before


def test_an_edit_that_goes_wrong_loses_no_push(controller: Live) -> None:
    """While fleet.toml cannot be read, it is as it last was; forges announce a push only once."""
    fleet, url = controller.home / "fleet.toml", f"{hooks(controller.home)}/shop"
    text = fleet.read_text()
    body = github_push(A, "refs/tags/v3.0")
    try:
        fleet.write_text("[repository.shop\n")
        assert httpx.post(url, content=body, headers=github_headers(body, "edited")).status_code == 202
    finally:
        fleet.write_text(text)


@contextmanager
def receiving(cluster: Cluster, room: Room, pushes: list[Push]) -> Iterator[str]:
    """Serve a receiver with little room, that keeps pushes in a list."""

    async def push(push: Push, _app: str) -> bool:
        pushes.append(push)
        return True

    with serving(cluster.home, Receiver(RunningCluster.at(cluster.home), push, room)) as url:
        yield url


def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    """Byte after byte: the time is for all of it, not for each."""
    with receiving(building_cluster(tmp_path), Room(longest=0.5), []) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
            began = time.monotonic()
            answer = b""
            connection.settimeout(0.1)
            while not answer and time.monotonic() - began < 5:
                connection.sendall(b"x")
                try:
                    answer = connection.recv(1000)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer
        assert time.monotonic() - began < 3


def test_too_many_at_once_are_sent_away(tmp_path: Path) -> None:
    """503 with a time to come again; who is in progress is served, and then there is room."""
    pushes: list[Push] = []
    with receiving(building_cluster(tmp_path), Room(most_at_once=2), pushes) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        body = github_push()
        lines = [f"{name}: {value}" for name, value in github_headers(body).items()]
        head = "\r\n".join(["POST /hooks/shop HTTP/1.1", "host: x", f"content-length: {len(body)}", *lines, "", ""])
        slow = [socket.create_connection((host, int(port)), timeout=5) for _ in range(2)]
        for each in slow:
            each.sendall(head.encode())
        time.sleep(0.2)
        answer = httpx.post(f"{url}/hooks/shop", content=body, headers=github_headers(body))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        for each in slow:
            each.sendall(body)
            assert each.recv(1000).startswith(b"HTTP/1.1 202")
            each.close()
        assert httpx.post(f"{url}/hooks/shop", content=body, headers=github_headers(body)).status_code == 202
    assert len(pushes) == 3


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """By its length, or when it has become so: a signature does not help it."""
    with receiving(building_cluster(tmp_path), Room(largest=1000), []) as url:
        body = github_push(commits=[{"id": A, "message": "x" * 1000}])
        for content in (body, iter([body[:600], body[600:]])):
            answer = httpx.post(f"{url}/hooks/shop", content=content, headers=github_headers(body))
            assert (answer.status_code, answer.text) == (413, "at most 1000 bytes\n")


def test_large_bodies_share_their_room_and_small_ones_need_none(tmp_path: Path) -> None:
    """Who fills the room with large bodies does not keep small ones out."""
    room = Room(for_large=2**20, small=2**14)
    with receiving(building_cluster(tmp_path), room, []) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as greedy:
            greedy.sendall(b"POST /hooks/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n")
            greedy.sendall(b"x" * (2**20 + 2**14 - 1000))
            time.sleep(0.3)
            large = b"x" * 100_000
            assert httpx.post(f"{url}/hooks/shop", content=large).status_code == 503
            body = github_push()
            assert httpx.post(f"{url}/hooks/shop", content=body, headers=github_headers(body)).status_code == 202
        time.sleep(0.3)
        assert httpx.post(f"{url}/hooks/shop", content=large).status_code == 401
    assert (room.at_once, room.large) == (0, 0)


def most_memory(process: subprocess.Popen[str]) -> int:
    """Return how many bytes of memory a process has ever used at once."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_bodies_of_100_mb_cost_no_memory(tmp_path: Path) -> None:
    """By its length one is refused before a byte is read; without a length, at the limit."""
    home = building_cluster(tmp_path).home
    with controller_process(home) as process, ThreadPoolExecutor(8) as senders:
        before = most_memory(process)
        answers = list(senders.map(lambda length: post_100_mb(home, length), [{}, {"content-length": "100000000"}] * 4))
        assert httpx.post(f"{hooks(home)}/shop", content=b"").status_code == 401
        assert most_memory(process) - before < 170 * 2**20
    assert set(answers) <= {413, 503, 0}
    assert 413 in answers


def post_100_mb(home: Path, headers: dict[str, str]) -> int:
    """Send 100 MB; return the status, 0 if the connection was closed over what nobody wanted to read."""
    body = (b"x" * 1_000_000 for _ in range(100))
    try:
        return httpx.post(f"{hooks(home)}/shop", content=body, headers=headers, timeout=30).status_code
    except httpx.TransportError:
        return 0


class Forge:
    """Announces a push of a tag of its own for each number."""

    def __init__(self, home: Path, at_once: int) -> None:
        self._port = load_fleet(home / "fleet.toml").controller.hook_port
        self._threads = ThreadPoolExecutor(at_once)

    def announce(self, count: int) -> Iterator[int]:
        """Return the status of each answer as it comes, 0 where the controller is gone."""
        return self._threads.map(self._announce, range(count))

    def _announce(self, number: int) -> int:
        commits = [{"id": A, "message": "x" * 2000}] * 3
        body = github_push(f"{number + 1:040x}", f"refs/tags/v{number}", commits=commits)
        # A connection of its own for each, as forges do; httpx would load certificates a thousand times.
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("POST", "/hooks/shop", body, github_headers(body, f"{number}"))
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()


def commits_in(home: Path) -> list[int]:
    """Return the number of each commit in the queue of a controller that does not run."""
    queue = BuildQueue(home / "state" / "builds.db")
    found = sorted(int(build.commit, 16) - 1 for build in queue.newest(limit=2000))
    queue.close()
    return found


def test_of_a_thousand_in_a_burst_none_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All are answered 202 and are in the queue, and the controller does not grow for it."""
    home = building_cluster(tmp_path).home
    with controller_process(home) as process:
        of_controller = psutil.Process(process.pid)
        before = of_controller.memory_info().rss
        began = time.monotonic()
        answers = list(Forge(home, at_once=200).announce(1000))
        took = time.monotonic() - began
        grown = of_controller.memory_info().rss - before
    with capsys.disabled():
        print(f"\n1,000 in {took:.1f} s; RSS {before / 2**20:.1f} MiB + {grown / 2**20:.1f} MiB", file=sys.stderr)
    assert answers == [202] * 1000
    assert grown < 64 * 2**20
    assert commits_in(home) == list(range(1000))


def test_what_was_answered_in_a_burst_survives_a_kill(tmp_path: Path) -> None:
    """Killed in the middle, every 202 is in the queue; sent again, every one is there once."""
    home = building_cluster(tmp_path).home
    with controller_process(home) as process:
        answers = Forge(home, at_once=20).announce(1000)
        first = [next(answers) for _ in range(200)]
        os.kill(process.pid, signal.SIGKILL)
        statuses = [*first, *answers]
    assert 0 in statuses
    assert {number for number, status in enumerate(statuses) if status == 202} <= set(commits_in(home))
    with controller_process(home):
        again = list(Forge(home, at_once=20).announce(1000))
    assert set(again) == {200, 202}
    assert commits_in(home) == list(range(1000))
