"""What is decided about servers in containers, and the folders of nights that died, without booting anything."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from msgspec import convert

from clarion_controller.fleet_toml.roles import NspawnServer, Role
from clarion_controller.provisioners import nspawn
from clarion_controller.provisioners.boot_files import read_first_boot
from clarion_controller.provisioners.choose import provisioner_of
from clarion_controller.provisioners.containers import furnish
from clarion_controller.provisioners.containers.furnish import agent_toml, hosts_file
from clarion_controller.provisioners.containers.night_folder import NightFolder, sweep
from clarion_controller.provisioners.containers.recipe import Apt, Recipe, mmdebstrap, recipe_of, sources_list
from clarion_controller.provisioners.containers.requirements import demand_requirements
from clarion_controller.provisioners.containers.staying import Here, Staying
from clarion_controller.provisioners.containers.users import Users
from clarion_controller.provisioners.nspawn import NspawnProvisioner
from clarion_controller.provisioners.provisioner import FirstBoot, ServerOrder
from clarion_protocol.errors import BadConfig, Blocked, HostError, NoSpace

MIRROR, SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
APT = Apt(
    release="bookworm",
    sources=(
        (MIRROR, "bookworm", "main"),
        (MIRROR, "bookworm-updates", "main"),
        (SECURITY, "bookworm-security", "main"),
    ),
    settings=('Acquire::Retries "3";',),
)
HOLD = """\
import sys, time
from pathlib import Path
from clarion_controller.provisioners.containers.night_folder import NightFolder
NightFolder(Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""


# -- what a root file system is made of -------------------------------------------------------------------------------


def test_a_role_without_a_word_gets_this_machines_release() -> None:
    """It has what an agent and its unit need, and nothing else."""
    recipe = recipe_of(None, APT)
    assert recipe == Recipe("bookworm", ("dbus", "iproute2", "python3", "systemd", "systemd-sysv"))


def test_roles_that_want_the_same_share_a_recipe() -> None:
    """Order and repetition of packages make no other root file system."""
    one = recipe_of(NspawnServer(packages=("nginx", "curl")), APT)
    other = recipe_of(NspawnServer(suite="bookworm", packages=("curl", "nginx", "curl")), APT)
    assert one == other
    assert one != recipe_of(NspawnServer(packages=("curl",)), APT)


def test_another_release_comes_from_the_same_mirrors() -> None:
    """Updates and security come along."""
    lines = sources_list(recipe_of(NspawnServer(suite="trixie"), APT), APT).splitlines()
    assert lines == [
        f"deb {MIRROR} trixie main",
        f"deb {MIRROR} trixie-updates main",
        f"deb {SECURITY} trixie-security main",
    ]


def test_a_rolling_release_has_no_updates_beside_it() -> None:
    """Debian's sid is one archive; there is no sid-security."""
    assert sources_list(recipe_of(NspawnServer(suite="sid"), APT), APT) == f"deb {MIRROR} sid main\n"


def test_no_word_of_fleet_toml_becomes_an_option_of_mmdebstrap() -> None:
    """A suite that begins with a dash is still the suite, and a package is part of its own option."""
    command = mmdebstrap(Recipe("--hook", ("--setup-hook=x",)), APT, "/target")
    assert command[command.index("--") :] == ["--", "--hook", "/target", "-"]
    assert "--include=--setup-hook=x" in command
    assert "--setup-hook=x" not in command


@pytest.mark.parametrize(
    "server",
    [
        NspawnServer(packages=("/var/lib/clarion/mine.deb",)),
        NspawnServer(packages=("./mine.deb",)),
        NspawnServer(packages=("nginx,/mine.deb",)),
        NspawnServer(packages=("~nnginx",)),
        NspawnServer(packages=("nginx\n",)),
        NspawnServer(packages=("--setup-hook=x",)),
        NspawnServer(suite="bookworm main\ndeb [trusted=yes] http://192.0.2.1 mine"),
        NspawnServer(suite="../mine"),
        NspawnServer(suite="--hook"),
    ],
    ids=["a file", "a file here", "two at once", "a pattern", "a line", "an option", "a source", "a path", "a dash"],
)
def test_what_root_installs_comes_from_this_machines_mirrors(server: NspawnServer) -> None:
    """Its maintainer's scripts run as root of this machine: whoever writes fleet.toml chooses among names only."""
    with pytest.raises(BadConfig, match="is none that a mirror of Debian has"):
        recipe_of(server, APT)


def test_a_package_may_be_named_with_architecture_and_version() -> None:
    """As apt takes them."""
    named = ("g++", "libc6:amd64", "nginx=1.22.1-9+deb12u3", "openssh-server=1:9.2p1-2+deb12u7~x")
    assert set(named) < set(recipe_of(NspawnServer(packages=named), APT).packages)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may enter."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("setting", ["setup", "agent_config", "agent"])
def test_a_role_names_no_file_that_the_homes_owner_cannot_read(open_folder: Path, setting: str) -> None:
    """A link in the home to what is root's does not put it on a server, where the owner's own script could read it."""
    secret, home = open_folder / "secret", open_folder / "home"
    secret.write_text("for root")
    secret.chmod(0o600)
    home.mkdir()
    (home / "file").symlink_to(secret)
    os.chown(home, 12345, 12345)
    role = convert({setting: "file"}, Role)
    with pytest.raises(BadConfig, match=r"cannot be read: .*Permission denied"):
        furnish._bring(Users(0), open_folder / "first", read_first_boot(role, home, "token"))
    os.chown(secret, 12345, 12345)
    furnish._bring(Users(0), open_folder / "second", read_first_boot(role, home, "token"))


@pytest.mark.parametrize("run", ["night", ""], ids=["for a night", "to stay"])
def test_a_server_for_which_the_disk_has_no_room_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """Else it is no server's fault, and no other of its environment is looked at."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nspawn, "_Night", full)
    monkeypatch.setattr(nspawn, "make_staying", full)
    with pytest.raises(NoSpace, match="no space left in"):
        NspawnProvisioner("acme", "night", tmp_path).create(ServerOrder("web", Role(), FirstBoot(""), run=run))


def test_a_folder_of_a_night_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    """A full disk says so in the same way."""
    with pytest.raises(HostError, match="File name too long"):
        NightFolder(tmp_path, "acme-" + 300 * "1")


@pytest.mark.parametrize("setting", ["setup", "agent_config", "agent"])
@pytest.mark.parametrize("kind", ["a pipe that nobody writes to", "what has no end", "a file longer than a disk"])
def test_a_role_names_no_file_that_keeps_root_waiting_or_fills_its_disk(
    tmp_path: Path, kind: str, setting: str
) -> None:
    """It is said at once, in a sentence that names the file; a night's deadline ends no thread that opens a pipe."""
    file = tmp_path / "file"
    if kind.startswith("a pipe"):
        os.mkfifo(file)
    elif kind.startswith("what"):
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 2**40)
    role = convert({setting: "file"}, Role)
    with pytest.raises(BadConfig, match=rf"{file}.* cannot be read: it is (no plain file|longer than 1 [MG]iB)"):
        furnish._bring(Users(0), tmp_path / "brought", read_first_boot(role, tmp_path, "token"))


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", 'cloud = "none"\n'),
        ('[app.shop]\nunits = ["shop.service"]\n', 'cloud = "none"\n[app.shop]\nunits = ["shop.service"]\n'),
        ('cloud = "aws"\n', 'cloud = "aws"\n'),
        ("[app.cloud\n", "[app.cloud\n"),
    ],
    ids=["no configuration", "no word of a cloud", "a cloud by name", "no TOML: the agent says so"],
)
def test_a_container_is_no_server_of_the_cloud_it_runs_in(written: str, read: str) -> None:
    """It would find its host's firmware and claim the host's number."""
    assert agent_toml(written) == read


def test_servers_find_each_other_by_a_file() -> None:
    """Each name is on a line of its own, after localhost."""
    assert hosts_file({"web": "10.77.0.2"}).splitlines() == ["127.0.0.1 localhost", "::1 localhost", "10.77.0.2 web"]


@pytest.mark.parametrize("name", ["web_1", "-web", "web.", "", "w" * 64, "web 1", "../web", "Web\n"])
def test_a_name_that_no_host_can_have_is_refused(name: str, tmp_path: Path) -> None:
    """It is said before anything is made."""
    provisioner = NspawnProvisioner("acme", "night", tmp_path / "place")
    with pytest.raises(BadConfig, match="host name"):
        provisioner.create(ServerOrder(name, Role(), FirstBoot("token"), run="night"))
    assert not (tmp_path / "place").exists()


def test_all_roles_of_a_night_are_made_by_one() -> None:
    """Else their servers were on islands of their own; another night has another."""
    here = Path()
    one = provisioner_of(Role(groups=("web",)), here, "acme", "night-1")
    assert one is provisioner_of(Role(nspawn=NspawnServer()), here, "acme", "night-1")
    assert one is not provisioner_of(Role(), here, "acme", "night-2")


# -- what is missing --------------------------------------------------------------------------------------------------


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not root is told that first."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BadConfig) as refused:
        demand_requirements()
    if os.geteuid() == 0:
        wanted = "apt-get install --no-install-recommends apt iproute2 mmdebstrap systemd-container util-linux"
        assert wanted in str(refused.value)
    else:
        assert "sudo" in str(refused.value)


# -- folders of nights ------------------------------------------------------------------------------------------------


def test_a_living_night_is_not_swept(tmp_path: Path) -> None:
    """Neither its own process nor another takes it away, and its name is taken."""
    night = NightFolder(tmp_path, "acme-1")
    assert sweep(tmp_path) == []
    with pytest.raises(Blocked):
        NightFolder(tmp_path, "acme-1")
    night.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_night_left_is_swept(tmp_path: Path) -> None:
    """The next sweep says what it was; what lives beside it stays."""
    alive = NightFolder(tmp_path, "acme-alive")
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path, "acme-dead"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        (tmp_path / "acme-dead" / "rootfs").mkdir()
        assert sweep(tmp_path) == []
        process.kill()
    assert sweep(tmp_path) == [f"folder {tmp_path / 'acme-dead'}"]
    assert [path.name for path in tmp_path.iterdir()] == ["acme-alive"]
    alive.remove()


def test_where_there_was_never_a_night_nothing_is_swept(tmp_path: Path) -> None:
    """And nothing is made."""
    assert sweep(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_a_sweep_follows_no_link(tmp_path: Path) -> None:
    """What a link in the place leads to is not a night."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = tmp_path / "place"
    place.mkdir()
    (place / "acme-1").symlink_to(elsewhere)
    assert sweep(place) == []
    assert elsewhere.is_dir()


# -- servers that stay ------------------------------------------------------------------------------------------------


def here(tmp_path: Path) -> Here:
    """Return a machine's folders, where systemd runs."""
    running = tmp_path / "running"
    running.mkdir()
    machines = tmp_path / "machines"
    machines.mkdir()
    return Here(machines, tmp_path / "settings", running)


def test_a_server_that_stays_needs_a_systemd_that_boots_it(tmp_path: Path) -> None:
    """Where another init runs, it is said before anything is built."""
    with pytest.raises(BadConfig, match="systemd does not run here"):
        Staying("web-9", Here(tmp_path, tmp_path, tmp_path / "absent")).demand_place()


@pytest.mark.parametrize("there", ["machines/web-9", "settings/web-9.nspawn"])
def test_no_machine_is_overwritten(tmp_path: Path, there: str) -> None:
    """Not even a file that somebody left for a machine to come."""
    place = here(tmp_path)
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("precious")
    with pytest.raises(BadConfig, match="is there already"):
        Staying("web-9", place).demand_place()


def test_what_was_built_comes_whole_and_with_its_settings(tmp_path: Path) -> None:
    """A machine that appears at the last moment is left as it is, and no settings stay behind."""
    place = here(tmp_path)
    for name in ("built", "late"):
        (tmp_path / name / "etc").mkdir(parents=True)
    Staying("web-9", place).settle(tmp_path / "built")
    assert (place.machines / "web-9" / "etc").is_dir()
    assert "VirtualEthernet=no" in (place.settings / "web-9.nspawn").read_text()

    (place.settings / "web-9.nspawn").unlink()
    with pytest.raises(BadConfig, match="cannot become a machine"):
        Staying("web-9", place).settle(tmp_path / "late")
    assert (tmp_path / "late").is_dir()
    assert not (place.settings / "web-9.nspawn").exists()
