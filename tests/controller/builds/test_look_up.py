"""What a branch or tag of a real remote is, asked by the controller for a build by hand."""

from __future__ import annotations

import contextlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from tests.stores import Puppet, http, puppet

from clarion_controller.builds.look_up import look_up
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.errors import BadConfig, ClarionError, NetworkError, UnknownName


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.net"]
    ran = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """Return a repository with two branches and two kinds of tags."""
    folder = tmp_path / "shop.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "trunk")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one")
    git(folder, "tag", "v1.0")
    git(folder, "tag", "-a", "v1.1", "-m", "release")
    git(folder, "checkout", "--quiet", "-b", "next")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "two")
    git(folder, "checkout", "--quiet", "trunk")
    return folder


@pytest.mark.parametrize(
    ("name", "ref", "commit"),
    [
        ("", "refs/heads/trunk", "trunk"),
        ("trunk", "refs/heads/trunk", "trunk"),
        ("next", "refs/heads/next", "next"),
        ("refs/heads/next", "refs/heads/next", "next"),
        ("v1.0", "refs/tags/v1.0", "trunk"),
        ("v1.1", "refs/tags/v1.1", "trunk"),
    ],
)
def test_a_name_is_looked_up(remote: Path, name: str, ref: str, commit: str) -> None:
    """Branches first; of an annotated tag, the commit that it is on; of nothing, the remote's own branch."""
    found = look_up(Repository(url=str(remote)), name)
    assert found == (ref, git(remote, "rev-parse", f"{commit}^{{commit}}"))


@pytest.mark.parametrize(
    "name", ["nope", "-x", "--upload-pack=touch x", "a b", "refs/heads/*", "*", "refs/pull/1/head"]
)
def test_what_is_not_there_is_unknown(remote: Path, name: str) -> None:
    """No pattern, no option, nothing outside branches and tags."""
    with pytest.raises(UnknownName):
        look_up(Repository(url=str(remote)), name)


def test_an_empty_remote_has_no_branch(tmp_path: Path) -> None:
    """Which is said."""
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    with pytest.raises(UnknownName, match="no branch of its own"):
        look_up(Repository(url=str(tmp_path / "empty.git")), "")


def test_a_remote_whose_own_branch_is_none_has_none(remote: Path) -> None:
    """What a remote says is believed only where it is a branch or a tag."""
    git(remote, "update-ref", "refs/secret/one", "HEAD")
    git(remote, "symbolic-ref", "HEAD", "refs/secret/one")
    with pytest.raises(UnknownName, match="no branch of its own"):
        look_up(Repository(url=str(remote)), "")


def test_a_bad_remote_is_a_clear_error(tmp_path: Path) -> None:
    """A folder that is no repository, a server that asks for a password, one that is not there."""
    with pytest.raises(BadConfig, match="no git repository"):
        look_up(Repository(url=str(tmp_path)), "main")
    with puppet(http("401 Unauthorized", www_authenticate='Basic realm="git"')) as server:
        assert isinstance(server, Puppet)
        with pytest.raises(BadConfig, match="password"):
            look_up(Repository(url=f"{server.url}/shop.git"), "main")
    with pytest.raises(ClarionError, match="cannot be reached"):
        look_up(Repository(url=f"{server.url}/shop.git"), "main")


class Endless(BaseHTTPRequestHandler):
    """Lists branches as git's server does, and comes to no end."""

    def do_GET(self) -> None:
        """Answer until the other side has had enough."""
        self.send_response(200)
        self.send_header("content-type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        self.wfile.write(b"001e# service=git-upload-pack\n0000")
        with contextlib.suppress(ConnectionError):
            for number in count():
                line = b"%040x refs/heads/%060000d\n" % (number, number)
                self.wfile.write(b"%04x%b" % (len(line) + 4, line))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""


def test_a_remote_whose_names_have_no_end_costs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git keeps them all: it is ended long before the controller has to pay for it."""
    monkeypatch.setattr("clarion_controller.builds.look_up.MAX_MEMORY", 64 * 2**20)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server, ThreadPoolExecutor(1) as thread:
        serving = thread.submit(server.serve_forever)
        try:
            with pytest.raises(NetworkError, match=r"[Oo]ut of memory"):
                look_up(Repository(url=f"http://127.0.0.1:{server.server_port}/shop.git"), "main")
        finally:
            server.shutdown()
            serving.result(10)
