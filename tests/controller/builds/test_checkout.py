"""Fetching with real git: the commit that was announced, nothing else of git, and errors that say what to do."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.controller.builds.hostile import left_in
from tests.controller.builds.remotes import Remote, SmartHttp, git

from clarion_controller.builds import checkout
from clarion_controller.builds.checkout import Checkout, Wanted, fetch
from clarion_controller.fleet_toml.repositories import Repository
from clarion_protocol.amounts import Size
from clarion_protocol.errors import BadConfig, BuildFailed, ClarionError, NetworkError, OperatorError, UnknownName

pytestmark = [pytest.mark.once, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]
MAIN = "refs/heads/main"


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    """Return a repository with two commits on main, the first of which is v1.0."""
    remote = Remote(tmp_path / "remote")
    remote.commit({"clarion.toml": '[app]\nname = "shop"\n', "text": "one"})
    git(remote.work, "tag", "-a", "v1.0", "-m", "First")
    git(remote.work, "tag", "light")
    git(remote.work, "push", "-q", "--tags", "origin")
    remote.commit({"text": "two"})
    return remote


def commits(remote: Remote) -> list[str]:
    """Return the commits of main, oldest first."""
    return git(remote.bare, "rev-list", "--reverse", "main").split()


def fetched(remote: Remote | str, wanted: Wanted, into: Path, credential: str = "", **more: object) -> Checkout:
    """Fetch from a remote or an address."""
    url = remote if isinstance(remote, str) else remote.url
    return fetch(Repository(url=url, **more), wanted, into, credential)  # type: ignore[arg-type]


def test_a_branch(remote: Remote, tmp_path: Path) -> None:
    """Of a branch its newest commit is fetched; its version is the commit's first twelve digits."""
    found = fetched(remote, Wanted(ref=MAIN), tmp_path / "into")
    newest = commits(remote)[-1]
    assert (found.commit, found.version) == (newest, newest[:12])
    assert (found.folder / "text").read_text() == "two"


def test_nothing_of_git_is_left(remote: Remote, tmp_path: Path) -> None:
    """What is built has no history, no remote and no setting beside it, neither has the folder above."""
    found = fetched(remote, Wanted(ref=MAIN), tmp_path / "jobs" / "into")
    assert left_in(found.folder) == ["clarion.toml", "text"]
    assert left_in(tmp_path / "jobs") == ["into"]


WANTED: dict[str, tuple[Callable[[str, str], Wanted], int, str]] = {
    "the newest commit of a branch": (lambda old, new: Wanted(ref=MAIN, commit=new), 1, ""),
    "a commit that the branch has left behind": (lambda old, new: Wanted(ref=MAIN, commit=old), 0, ""),
    "a commit by its number": (lambda old, new: Wanted(commit=old), 0, ""),
    "a tag": (lambda old, new: Wanted(ref="refs/tags/v1.0"), 0, "1.0"),
    "a tag and its commit": (lambda old, new: Wanted(ref="refs/tags/v1.0", commit=old), 0, "1.0"),
    "a tag that is no object of its own": (lambda old, new: Wanted(ref="refs/tags/light"), 0, "light"),
    "the version of a tag": (lambda old, new: Wanted(version="1.0"), 0, "1.0"),
    "the version of the newest commit": (lambda old, new: Wanted(version=new[:12]), 1, ""),
    "the version of an older commit": (lambda old, new: Wanted(version=old[:12]), 0, ""),
}


@pytest.mark.parametrize("what", WANTED)
def test_what_can_be_wanted(remote: Remote, tmp_path: Path, what: str) -> None:
    """Each way to name a commit finds that commit, its files and its version."""
    make, number, version = WANTED[what]
    both = commits(remote)
    found = fetched(remote, make(*both), tmp_path / "into")
    assert found.commit == both[number]
    assert found.version == (version or both[number][:12])
    assert (found.folder / "text").read_text() == ("one", "two")[number]


def test_an_annotated_tag_as_github_announces_it(remote: Remote, tmp_path: Path) -> None:
    """Where the tag's own object is announced, what it is of is fetched."""
    announced = git(remote.bare, "rev-parse", "refs/tags/v1.0")
    found = fetched(remote, Wanted(ref="refs/tags/v1.0", commit=announced), tmp_path / "into")
    assert found.commit == commits(remote)[0] != announced


def test_a_branch_that_moved_on_where_commits_are_not_given_out(remote: Remote, tmp_path: Path) -> None:
    """A server that gives only branches away still yields the commit that was announced, by the whole branch."""
    for setting in ("allowTipSHA1InWant", "allowReachableSHA1InWant", "allowAnySHA1InWant"):
        git(remote.bare, "config", f"uploadpack.{setting}", "false")
    git(remote.bare, "config", "protocol.version", "0")
    old = commits(remote)[0]
    assert fetched(remote, Wanted(ref=MAIN, commit=old), tmp_path / "into").commit == old


GONE = {
    "a branch that was deleted meanwhile": (Wanted(ref="refs/heads/gone"), "no branch 'gone'"),
    "a tag that is not there": (Wanted(ref="refs/tags/v9"), "no tag 'v9'"),
    "a commit that never was": (Wanted(commit="1" * 40), "does not give commit 111111111111"),
    "a commit that is not on the branch": (Wanted(ref=MAIN, commit="1" * 40), "is not .* on refs/heads/main"),
    "no number of a commit": (Wanted(commit="HEAD"), "is no commit"),
    "a version without a tag": (Wanted(version="9.9"), "no tag v9.9 or 9.9"),
    "a version of no commit": (Wanted(version="1" * 12), "no commit 111111111111"),
    "a pattern for a branch": (Wanted(ref="refs/heads/*"), "no branch"),
    "an option for a branch": (Wanted(ref="--upload-pack=touch /tmp/x"), "no branch"),
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_not_there(remote: Remote, tmp_path: Path, what: str) -> None:
    """What the remote does not have is named."""
    wanted, message = GONE[what]
    with pytest.raises(UnknownName, match=message):
        fetched(remote, wanted, tmp_path / "into")


def test_a_rewritten_branch(remote: Remote, tmp_path: Path) -> None:
    """A commit that was announced and then pushed away is not taken for one of the branch."""
    git(remote.bare, "config", "uploadpack.allowAnySHA1InWant", "false")
    git(remote.bare, "config", "protocol.version", "0")
    lost = commits(remote)[-1]
    git(remote.work, "commit", "-q", "--amend", "-m", "Rewritten")
    git(remote.work, "push", "-q", "--force", "origin", "main")
    git(remote.bare, "reflog", "expire", "--expire=now", "--all")
    git(remote.bare, "gc", "-q", "--prune=now")
    with pytest.raises(UnknownName, match=r"not .any more. on refs/heads/main"):
        fetched(remote, Wanted(ref=MAIN, commit=lost), tmp_path / "into")


def test_a_tag_that_is_no_version(remote: Remote, tmp_path: Path) -> None:
    """A tag with a slash cannot become a version."""
    git(remote.bare, "tag", "release/1", "main")
    with pytest.raises(OperatorError, match="no version"):
        fetched(remote, Wanted(ref="refs/tags/release/1"), tmp_path / "into")


# -- remotes that do not let anybody in ------------------------------------------------------------------------------


def test_smart_http(remote: Remote, tmp_path: Path) -> None:
    """A forge's own protocol works, an old commit included."""
    with SmartHttp(remote.folder).serving() as address:
        found = fetched(f"{address}/shop.git", Wanted(ref=MAIN, commit=commits(remote)[0]), tmp_path / "into")
    assert (found.folder / "text").read_text() == "one"


def test_a_remote_that_asks_for_a_password(remote: Remote, tmp_path: Path) -> None:
    """Without a credential nobody is asked and nothing hangs; the error says where to put one."""
    with SmartHttp(remote.folder, password="s3cret").serving() as address:
        began = time.monotonic()
        with pytest.raises(BadConfig, match=r"asks for a password(.|\n)*credential"):
            fetched(f"{address}/shop.git", Wanted(ref=MAIN), tmp_path / "into")
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("credential", ["s3cret", "deploy:s3cret"])
def test_a_credential_opens_a_remote(remote: Remote, tmp_path: Path, credential: str) -> None:
    """A token alone or a name and password open it; neither is in an address or on a disk afterwards."""
    site = SmartHttp(remote.folder, password="s3cret")
    with site.serving() as address:
        fetched(f"{address}/shop.git", Wanted(ref=MAIN), tmp_path / "into", credential)
    assert set(site.offered) == {credential if ":" in credential else f"clarion:{credential}"}
    assert not any("s3cret" in path for path in site.asked)
    done = subprocess.run(["grep", "-r", "s3cret", tmp_path], capture_output=True, check=False)
    assert done.stdout == b""


def test_a_credential_that_is_wrong(remote: Remote, tmp_path: Path) -> None:
    """A password that is refused is said to be so."""
    with (
        SmartHttp(remote.folder, password="s3cret").serving() as address,
        pytest.raises(BadConfig, match="still valid"),
    ):
        fetched(f"{address}/shop.git", Wanted(ref=MAIN), tmp_path / "into", "guess")


@pytest.mark.parametrize("way", ["a redirect", "a submodule"])
def test_a_credential_is_told_to_its_own_remote_only(remote: Remote, tmp_path: Path, way: str) -> None:
    """Whoever the remote names in its .gitmodules, or sends us on to, asks in vain."""
    thief = SmartHttp(remote.folder, password="anything")
    with thief.serving() as elsewhere:
        honest = SmartHttp(remote.folder, redirect_to=elsewhere if way == "a redirect" else "")
        if way == "a submodule":
            add_submodule(remote, f"{elsewhere}/shop.git")
        with honest.serving() as address, pytest.raises(BadConfig, match="asks for a password"):
            fetched(f"{address}/shop.git", Wanted(ref=MAIN), tmp_path / "into", "s3cret")
    assert thief.asked
    assert thief.offered == []


def test_a_remote_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and then says nothing is given up at the deadline."""
    monkeypatch.setattr(checkout, "PATIENCE", 1.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for number, url in enumerate((f"http://127.0.0.1:{port}/shop.git", f"git://127.0.0.1:{port}/shop.git")):
            began = time.monotonic()
            with pytest.raises(NetworkError, match=r"did not end within 1\.5s"):
                fetched(url, Wanted(ref=MAIN), tmp_path / str(number))
            assert time.monotonic() - began < 8


UNREACHABLE = {
    "a port where nobody listens": ("http://127.0.0.1:1/shop.git", NetworkError, "cannot be reached"),
    "a name that does not exist": ("https://nowhere.invalid/shop.git", NetworkError, "cannot be reached"),
    "a folder that is none": ("/nonexistent/shop.git", BadConfig, "is no git repository"),
    "a folder without git": ("file:///usr/share", BadConfig, "is no git repository"),
    "a command": ("ext::sh -c touch% /tmp/clarion-was-here", BadConfig, "of a kind that is not fetched"),
}


@pytest.mark.parametrize("what", UNREACHABLE)
def test_a_remote_that_is_none(tmp_path: Path, what: str) -> None:
    """What cannot be fetched from is named, with what to do."""
    url, kind, message = UNREACHABLE[what]
    with pytest.raises(kind, match=message) as raised:
        fetched(url, Wanted(ref=MAIN), tmp_path / "into")
    assert raised.value.hint
    assert not Path("/tmp/clarion-was-here").exists()


@pytest.fixture
def daemon(remote: Remote) -> Iterator[str]:
    """Serve the repository with `git daemon`; give the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["git", "daemon", f"--port={port}", "--listen=127.0.0.1", "--export-all", f"--base-path={remote.folder}"]
    with subprocess.Popen([*command, str(remote.folder)], stderr=subprocess.DEVNULL, start_new_session=True) as server:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"git://127.0.0.1:{port}"
        os.killpg(server.pid, 15)


def test_a_remote_that_says_bytes_that_are_no_text(tmp_path: Path) -> None:
    """What it says stands in an error that can be shown and sent on."""

    class Rude(BaseHTTPRequestHandler):
        """Answers as git's smart http does, and rudely."""

        def do_GET(self) -> None:
            """Answer."""
            self.send_response(200)
            self.send_header("content-type", "application/x-git-upload-pack-advertisement")
            self.end_headers()
            self.wfile.write(b"001e# service=git-upload-pack\n0000000fERR go \xff\xfe!\n")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Rude)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(NetworkError, match=r"go .{2}!") as raised:
            fetched(f"http://127.0.0.1:{server.server_port}/x", Wanted(ref=MAIN), tmp_path / "into")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert str(raised.value).encode()


def test_a_machine_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said by its name."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadConfig, match="git is not installed"):
        fetched("/somewhere", Wanted(ref=MAIN), tmp_path / "into")


def test_git_daemon(remote: Remote, daemon: str, tmp_path: Path) -> None:
    """git:// works, and a repository that it does not have is said not to be one."""
    assert fetched(f"{daemon}/shop.git", Wanted(ref=MAIN), tmp_path / "into").commit == commits(remote)[-1]
    with pytest.raises(BadConfig, match="no git repository"):
        fetched(f"{daemon}/bank.git", Wanted(ref=MAIN), tmp_path / "bank")


# -- what strangers put into a repository ----------------------------------------------------------------------------


def add_submodule(remote: Remote, url: str, commit: str = "1" * 40) -> None:
    """Commit a submodule at `url`, as its .gitmodules says it."""
    git(remote.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},inner")
    (remote.work / ".gitmodules").write_text(f'[submodule "inner"]\n\tpath = inner\n\turl = {url}\n')
    git(remote.work, "add", ".gitmodules")
    git(remote.work, "commit", "-q", "-m", "Add a submodule")
    git(remote.work, "push", "-q", "origin", "HEAD:main")


def test_submodules_come_along(remote: Remote, tmp_path: Path) -> None:
    """The files of a submodule are fetched with those of the repository, and nothing of git either."""
    other = Remote(tmp_path / "remote", "library.git")
    first = other.commit({"library.py": "pass"})
    with SmartHttp(remote.folder).serving() as address:
        add_submodule(remote, "../library.git", first)
        found = fetched(f"{address}/shop.git", Wanted(ref=MAIN), tmp_path / "into")
    assert left_in(found.folder / "inner") == ["library.py"]
    assert not list(found.folder.rglob(".git"))


@pytest.mark.parametrize("url", ["{private}", "file://{private}", "ext::sh -c touch% /tmp/clarion-was-here"])
def test_a_submodule_of_another_kind(remote: Remote, tmp_path: Path, url: str) -> None:
    """A .gitmodules cannot make us read this machine's folders or run a command."""
    private = Remote(tmp_path / "private")
    commit = private.commit({"key": "secret"})
    add_submodule(remote, url.format(private=private.bare), commit)
    with pytest.raises(BadConfig, match="of a kind that is not fetched"):
        fetched(remote, Wanted(ref=MAIN), tmp_path / "into")
    assert not Path("/tmp/clarion-was-here").exists()
    assert not (tmp_path / "into" / "inner" / "key").exists()


def test_settings_of_this_machine_have_no_say(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a filter, nor a hook, nor another address in somebody's own git settings takes part."""
    remote.commit({".gitattributes": "*.big filter=lfs", "a.big": "a pointer"})
    (tmp_path / ".gitconfig").write_text(
        '[filter "lfs"]\n\tsmudge = echo smudged\n\trequired = true\n'
        f'[core]\n\thooksPath = {tmp_path}/hooks\n[url "file:///nowhere"]\n\tinsteadOf = {remote.url}\n'
    )
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    (tmp_path / "hooks" / "post-checkout").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    found = fetched(remote, Wanted(ref=MAIN), tmp_path / "into")
    assert (found.folder / "a.big").read_text() == "a pointer"
    assert not (tmp_path / "hooked").exists()


def test_the_apps_folder(remote: Remote, tmp_path: Path) -> None:
    """An app in a folder of the repository is found there, unless the folder leads out of it or is missing."""
    (remote.work / "outside").symlink_to("/etc")
    remote.commit({"apps/shop/clarion.toml": "x"})
    found = fetched(remote, Wanted(ref=MAIN), tmp_path / "one", path="apps/shop")
    assert left_in(found.folder) == ["clarion.toml"]
    with pytest.raises(BuildFailed, match="leads out"):
        fetched(remote, Wanted(ref=MAIN), tmp_path / "two", path="outside")
    with pytest.raises(BadConfig, match="no folder 'bank'"):
        fetched(remote, Wanted(ref=MAIN), tmp_path / "three", path="bank")


def test_a_repository_that_is_too_large(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching ends when the repository takes more disk than its builds may."""
    monkeypatch.setattr("clarion_controller.builds.git.TICK", 0.001)
    (remote.work / "big").write_bytes(os.urandom(30 * 2**20))
    remote.commit({})
    with pytest.raises(BuildFailed, match=r"larger than 1\.0 MB"):
        fetched(remote, Wanted(ref=MAIN), tmp_path / "into", disk=Size(10**6))


def test_a_deep_repository(remote: Remote, tmp_path: Path) -> None:
    """Folders within folders, as deep as git can write them, are no trouble."""
    deep = "/".join(["d"] * 1500)
    blob = git(remote.work, "hash-object", "-w", "text")
    git(remote.work, "update-index", "--add", "--cacheinfo", f"100644,{blob},{deep}/x")
    git(remote.work, "commit", "-q", "-m", "Deep")
    git(remote.work, "push", "-q", "origin", "HEAD:main")
    fetched(remote, Wanted(ref=MAIN), tmp_path / "into")
    subprocess.run(["rm", "-rf", tmp_path / "into"], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_roots_git_is_the_user_of_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes is that user's, and what only root may read is no remote."""
    monkeypatch.setattr("clarion_controller.builds.git.BUILD_USER", "nobody")
    with tempfile.TemporaryDirectory(prefix="clarion-git-user-") as name:
        place = Path(name)
        place.chmod(0o755)
        remote = Remote(place / "remote")
        remote.commit({"clarion.toml": '[app]\nname = "shop"\n'})
        got = fetched(remote, Wanted(ref=MAIN), place / "into")
        assert (got.folder / "clarion.toml").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        remote.folder.chmod(0o700)
        with pytest.raises(ClarionError):
            fetched(remote, Wanted(ref=MAIN), place / "again")
