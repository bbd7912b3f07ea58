"""The first boot of a server in a cloud: the script itself, run by bash in a root of its own."""

from __future__ import annotations

import gzip
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.effort import examples

from clarion_controller.provisioners.first_boot import Room, script, user_data
from clarion_controller.provisioners.provisioner import FirstBoot
from clarion_protocol.errors import BadConfig

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="needs bubblewrap: apt install bubblewrap")
TOKEN = "clarion1.dG9rZW4"
AGENT = "https://packages.example.net/clarion-agent_1.0_amd64.deb"
EVIL = '\'; touch /etc/owned; echo "$(touch /etc/owned)" `touch /etc/owned` \\ $HOME ${token}\n\t\x7f\x1b[2J é'
STAND_INS = {
    "hostnamectl": 'printf "%s\\n" "$@" > /etc/called.hostnamectl',
    "systemctl": 'printf "%s\\n" "$@" >> /etc/called.systemctl; touch /var/lib/clarion-agent/identity',
    "apt-get": 'printf "%s\\n" "$*" >> /etc/called.apt',
    "curl": 'printf "%s\\n" "$@" > /etc/called.curl\n'
    'while [ $# -gt 0 ]; do if [ "$1" = --output ]; then echo deb > "$2"; fi; shift; done',
    "journalctl": "echo the journal",
    "sleep": "",
}


class Root:
    """A root with an own /etc and /var/lib; what the script calls outside of it only notes that it was called."""

    def __init__(self, folder: Path) -> None:
        self.etc, self.state, self._programs = (folder / name for name in ("etc", "lib", "programs"))
        for each in (self.etc, self.state / "clarion-agent", self._programs):
            each.mkdir(parents=True)
        for name, does in STAND_INS.items():
            self.stand_in(name, does)

    def stand_in(self, name: str, does: str) -> None:
        """Have a program do something."""
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)

    def boots(self, text: bytes) -> subprocess.CompletedProcess[bytes]:
        """Run a script as cloud-init would: as root, at boot."""
        (self._programs / "user-data").write_bytes(text)
        mounts = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"]
        mounts += ["--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
        mounts += ["--bind", str(self.etc), "/etc", "--bind", str(self.state), "/var/lib"]
        mounts += ["--bind", str(self._programs), "/programs", "--setenv", "PATH", "/programs:/usr/bin:/bin"]
        command = ["bwrap", *mounts, "--unshare-all", "--die-with-parent", "bash", "/programs/user-data"]
        return subprocess.run(command, capture_output=True, timeout=30, check=False)

    def called(self, program: str) -> str:
        """Return what a program was called with, a word a line; "" if it was not."""
        path = self.etc / f"called.{program}"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Return a root in which nothing has booted yet."""
    return Root(tmp_path)


def test_a_server_becomes_a_host(root: Root) -> None:
    """Name, configuration, agent, setup, token, join: in this order, and the token is for root alone."""
    files = "/etc/clarion-agent/agent.toml /etc/called.apt /etc/clarion-agent/join.token"
    setup = f"#!/bin/sh\ncat {files} > /etc/saw 2>&1\n[ $(umask) = 0022 ]"
    boot = FirstBoot(TOKEN, AGENT, '[app.shop]\nunits = ["shop.service"]\n', setup)
    done = root.boots(script("web-9", boot).encode())
    assert done.returncode == 0, done.stderr
    assert root.called("hostnamectl") == "set-hostname\nweb-9\n"
    assert (root.etc / "clarion-agent/agent.toml").read_text() == boot.agent_config
    assert stat.S_IMODE((root.etc / "clarion-agent/agent.toml").stat().st_mode) == 0o644
    assert root.called("curl").splitlines()[:2] == ["--proto", "=https"]
    assert root.called("curl").splitlines()[-1] == AGENT
    assert "install ./clarion-agent.deb" in root.called("apt").splitlines()[-1]
    saw = (root.etc / "saw").read_text()
    assert "[app.shop]" in saw
    assert "install" in saw
    assert "join.token: No such file" in saw
    token = root.etc / "clarion-agent/join.token"
    assert token.read_text() == TOKEN
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert root.called("systemctl").split() == ["start", "--no-block", "clarion-agent-join.service"]
    assert not list(root.state.glob("clarion-first-boot*"))
    assert TOKEN.encode() not in done.stdout + done.stderr


def test_what_the_image_has_is_left_as_it_is(root: Root) -> None:
    """Without agent, configuration and setup, only name and token are brought."""
    assert root.boots(script("web-9", FirstBoot(TOKEN)).encode()).returncode == 0
    assert root.called("curl") == root.called("apt") == ""
    assert [path.name for path in (root.etc / "clarion-agent").iterdir()] == ["join.token"]


@pytest.mark.parametrize("there", ["etc/clarion-agent/join.token", "lib/clarion-agent/identity"])
def test_at_the_next_boot_nothing_is_done_again(root: Root, tmp_path: Path, there: str) -> None:
    """Google's guest agent runs it at every boot."""
    (root.etc / "clarion-agent").mkdir()
    (tmp_path / there).write_text("before")
    assert root.boots(script("web-9", FirstBoot(TOKEN, AGENT, "x", "exit 1")).encode()).returncode == 0
    assert (tmp_path / there).read_text() == "before"
    assert root.called("hostnamectl") == root.called("systemctl") == ""


@pytest.mark.parametrize(
    ("program", "does"),
    [("curl", "exit 22"), ("apt-get", "exit 100")],
    ids=["the agent cannot be fetched", "it cannot be installed"],
)
def test_a_step_that_fails_is_said_and_can_be_repeated(root: Root, program: str, does: str) -> None:
    """No token is left by a server that cannot use it, and the next boot begins anew."""
    root.stand_in(program, does)
    done = root.boots(script("web-9", FirstBoot(TOKEN, AGENT)).encode())
    assert done.returncode != 0
    assert b"clarion: the first boot failed at line" in done.stdout
    assert not (root.etc / "clarion-agent/join.token").exists()
    assert not list(root.state.glob("clarion-first-boot*"))
    root.stand_in(program, STAND_INS[program])
    assert root.boots(script("web-9", FirstBoot(TOKEN, AGENT)).encode()).returncode == 0


def test_a_setup_that_fails_stops_the_rest(root: Root) -> None:
    """A server that is not set up must not join."""
    assert root.boots(script("web-9", FirstBoot(TOKEN, setup="exit 7")).encode()).returncode == 7
    assert root.called("systemctl") == ""


def test_a_server_that_does_not_join_says_so_and_ends(root: Root) -> None:
    """The script waits with an end; the unit goes on by itself."""
    root.stand_in("systemctl", "")
    done = root.boots(script("web-9", FirstBoot(TOKEN)).encode())
    assert done.returncode == 0
    assert b"clarion: has not joined yet" in done.stdout


TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@settings(max_examples=examples(15))
@example(config=EVIL, setup_text=EVIL, token=EVIL.split("\n", maxsplit=1)[0])
@example(config="\0\r\n'\\''", setup_text="'\n'", token="-n")
@given(config=TEXT, setup_text=TEXT, token=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_text_arrives_as_it_is_and_none_is_run(config: str, setup_text: str, token: str) -> None:
    """Quotes, line ends, substitutions, control characters: a value is never part of the program."""
    with tempfile.TemporaryDirectory() as folder:
        root = Root(Path(folder))
        setup = '#!/bin/sh\ntail -n +4 "$0" > /etc/setup-text\nexit 0\n' + setup_text
        done = root.boots(script("web-9", FirstBoot(token, agent_config=config, setup=setup)).encode())
        assert done.returncode == 0, done.stderr
        written = root.etc / "clarion-agent/agent.toml"
        assert (written.read_bytes() if config else b"") == config.encode()
        assert (root.etc / "setup-text").read_bytes() == setup_text.encode()
        assert (root.etc / "clarion-agent/join.token").read_bytes() == token.encode()
        assert not (root.etc / "owned").exists()


@pytest.mark.parametrize(
    "agent", ["/srv/agent.deb", "http://x/agent.deb", "https://x/a b", "file:///x", "https://x/\n"]
)
def test_an_agent_comes_by_https_or_not_at_all(agent: str) -> None:
    """A file of the controller's machine is not there, and what http brings, anybody may have written."""
    with pytest.raises(BadConfig, match="https:// address"):
        script("web-9", FirstBoot(TOKEN, agent))


def test_an_address_is_never_an_option_of_curl(root: Root) -> None:
    """It stands behind "--", and quotes in it end nothing."""
    agent = "https://x/$(touch${IFS}/etc/owned)';touch${IFS}/etc/owned;'"
    assert root.boots(script("web-9", FirstBoot(TOKEN, agent)).encode()).returncode == 0
    assert root.called("curl").splitlines()[-2:] == ["--", agent]
    assert not (root.etc / "owned").exists()


def test_what_is_too_long_for_a_cloud_is_packed_or_refused() -> None:
    """Packed only if what reads it there unpacks it, and refused with both sizes before anything is made."""
    boot = FirstBoot(TOKEN, setup="echo line\n" * 3000)
    packed = user_data("web-9", boot, Room("AWS", 16_384, takes_gzip=True))
    assert gzip.decompress(packed).decode() == script("web-9", boot)
    assert user_data("web-9", FirstBoot(TOKEN), Room("AWS", 16_384, takes_gzip=True)).startswith(b"#!/bin/bash\n")
    for room in (Room("Google Cloud", 16_384, takes_gzip=False), Room("AWS", 500, takes_gzip=True)):
        with pytest.raises(BadConfig, match=rf"bytes long; {room.cloud} takes {room.size:,}"):
            user_data("web-9", boot, room)
